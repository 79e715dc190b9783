"""Panoptic segmentation of pictures into given words, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray
from torch import nn

from hclip_mmseg.apis.mmdet_inferencer import MMDetInferencer
from hclip_mmseg.mask_classification.mask_classifier import MaskClassifier
from hclip_mmseg.mask_classification.segments import PanopticSegmentation, list_segments
from hclip_mmseg.vocabularies import available_vocabularies, check_names, load_vocabulary, read_names


def stuff_of(names: str | Sequence[str]) -> tuple[str, ...]:
    """The stuff of a benchmark's vocabulary that is meant by its name; of other words, and where nobody says, none."""
    if not isinstance(names, str) or names.strip() not in available_vocabularies():
        return ()
    return load_vocabulary(names.strip()).stuff or ()


class PanopticInferencer(MMDetInferencer[PanopticSegmentation]):
    """Parts pictures into segments of any words: things counted one by one, and stuff.

        inferencer = PanopticInferencer("configs/fisa/fisa_vitl14-336_swin-b_coco-panoptic.py", "iter_25000.pth")
        inferencer.set_vocabulary("cat, umbrella, grass", stuff="grass")
        for result in inferencer(["park.jpg"]):
            print(result.source, [segment.title for segment in result.segments])

    Pictures are resized as the config resizes those that it tests on.

    Args:
        config: path of a mask classifier's config, or the config.
        checkpoint: its trained weights.
        device: 'cpu', 'cuda', 'cuda:1' ...; 'auto' is a GPU where there is one.
        panoptic: whether segments are wanted, or semantic results alone.

    Raises:
        FileNotFoundError, ValueError: see :func:`~hclip_mmseg.apis.build_model`; also without a checkpoint, since
            proposals have to be learnt, and for a model that classifies no masks.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path | None = None,
        device: str = "auto",
        *,
        panoptic: bool = True,
    ) -> None:
        super().__init__(config, checkpoint, device)
        self.model.results.update(semantic=True, panoptic=panoptic, instance=False)

    def check(self, model: nn.Module, kind: str) -> None:
        """Raises ValueError for a model that classifies no masks."""
        if not isinstance(model, MaskClassifier):
            raise ValueError(f"a {kind} gives no panoptic results: take a config that classifies masks")

    @property
    def smallest_side(self) -> int:
        """Pictures of any size are resized."""
        return 1

    def set_vocabulary(
        self,
        names: str | Sequence[str],
        templates: str | Sequence[str] | None = None,
        stuff: str | Sequence[str] | None = None,
    ) -> None:
        """Replace the words.

        Args:
            names: words; a string is a list with commas, a file, or a benchmark's (see `read_names`).
            templates: prompt templates; None keeps the present ones.
            stuff: those of the words that are not counted one by one, in the same form; of several synonyms the
                first will do. None: those of a benchmark whose list says which they are, else none.

        Raises:
            ValueError: if the names are no vocabulary, or stuff is none of them.
        """
        if stuff is None:
            stuff = stuff_of(names)
        names = read_names(names) if isinstance(names, str) else check_names(names, repeats=True)
        stuff = (read_names(stuff) if stuff else ()) if isinstance(stuff, str) else tuple(stuff)
        called = [{name, name.split(",")[0].strip()} for name in names]
        stranger = next((word for word in stuff if not any(word in ways for ways in called)), None)
        if stranger is not None:
            raise ValueError(f"{stranger!r} is given as stuff, but is none of the {len(names)} words")
        things = [name for name, ways in zip(names, called, strict=True) if ways.isdisjoint(stuff)]
        self.model.set_vocabulary(names, templates, things=things)

    def set_templates(self, templates: str | Sequence[str]) -> None:
        """Ask for the same words in other prompts; what is stuff stays so."""
        words = self.model.vocabulary
        things = [word for word, thing in zip(words, self.model.things.tolist(), strict=True) if thing]
        self.model.set_vocabulary(words, templates, things=things)

    def answer(self, source: str, image: NDArray[np.uint8]) -> PanopticSegmentation:
        """The segments of one picture, RGB uint8 [H, W, 3]; ``source`` is its path or place."""
        result = self.tested(image)
        words = tuple(result.metainfo["vocabulary"])
        labels = result.pred_sem_seg.sem_seg[0].cpu().numpy()
        if "pred_panoptic_seg" not in result:
            return PanopticSegmentation(source, image, np.zeros(labels.shape, np.int32), (), labels, words)
        raw = result.pred_panoptic_seg.sem_seg[0].cpu().numpy()
        ids, segments = list_segments(raw, words, self.model.things.tolist())
        return PanopticSegmentation(source, image, ids, segments, labels, words)
