"""Segmenting pictures into given words, from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from numpy.typing import NDArray
from torch import nn

from hclip_mmseg.datasets.vocabularies import read_names
from hclip_mmseg.models.frozen import frozen_clip_config
from hclip_mmseg.visualization import class_shares, draw_overlay

from . import checks
from .images import check_array, list_images, read_image
from .paths import locate, looked_in

Picture = str | Path | NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A picture in the words it was asked for.

    Attributes:
        source: the picture's path, or its place in the list for an array.
        image: RGB uint8, [H, W, 3].
        labels: [H, W], indices of `vocabulary`; 255 where the model leaves a pixel out (`score_threshold`).
        vocabulary: the words.
        scores: [T, H, W] in 0..1 if asked for, else None.
    """

    source: str
    image: NDArray[np.uint8]
    labels: NDArray[np.int64]
    vocabulary: tuple[str, ...]
    scores: NDArray[np.float32] | None = None

    def overlay(self, *, alpha: float = 0.55, legend: bool = True) -> NDArray[np.uint8]:
        """The picture with its regions coloured, and a legend of the words; RGB uint8."""
        return draw_overlay(self.image, self.labels, self.vocabulary, alpha=alpha, legend=legend)

    def shares(self) -> dict[str, float]:
        """The words found and the share of the picture each takes, 0..1, the largest first."""
        return {self.vocabulary[index]: share for index, share in class_shares(self.labels, self.vocabulary)}


def build_model(config: str | Path | Config, checkpoint: str | Path | None = None) -> nn.Module:
    """An open-vocabulary segmentor, ready for inference on the CPU.

    Args:
        config: path of a config, or the config.
        checkpoint: of this config's model. None: CLIP alone, frozen, since a head without training says
            nothing; the words are then compared with CLIP's dense tokens.

    Raises:
        FileNotFoundError, ValueError: if config, CLIP's weights or checkpoint are missing, broken, or do not
            belong together.
    """
    if not isinstance(config, Config):
        path = locate(config)
        if path is None:
            raise FileNotFoundError(f"no config {config}: looked for at {looked_in(config)}")
        config = Config.fromfile(path)
    config = config.copy()
    if checkpoint is not None:
        checks.take_clip_from_checkpoint(config)
    checks.check_run(config, splits=())
    if checkpoint is None:
        config.model = Config(frozen_clip_config(config.model.to_dict()))
    init_default_scope(config.get("default_scope", "mmseg"))
    model = MODELS.build(config.model)
    if checkpoint is not None:
        state = checks.read_state_dict(checkpoint)
        checks.check_fits(model, state, checkpoint)
        model.load_state_dict(state)
    return model.eval()


class OpenVocabInferencer:
    """Segments pictures into any words.

        inferencer = OpenVocabInferencer("configs/hclip/hclip_vitb16_coco-stuff.py", "iter_80000.pth")
        for result in inferencer(["park.jpg"], "cat, grass, traffic light"):
            print(result.source, result.shares())

    Args:
        config: path of a config, or the config.
        checkpoint: its trained weights; None is plain CLIP, see `build_model`.
        device: 'cpu', 'cuda', 'cuda:1' ...; 'auto' is a GPU where there is one.

    Raises:
        FileNotFoundError, ValueError: see `build_model`.
    """

    def __init__(
        self, config: str | Path | Config, checkpoint: str | Path | None = None, device: str = "auto"
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = build_model(config, checkpoint).to(device)

    def set_vocabulary(
        self, names: str | Sequence[str], templates: str | Sequence[str] | None = None
    ) -> None:
        """Replace the words; a string is a list with commas, a file, or a benchmark's (see `read_names`)."""
        self.model.set_vocabulary(read_names(names) if isinstance(names, str) else names, templates)

    def __call__(
        self,
        images: Picture | Sequence[Picture],
        vocabulary: str | Sequence[str] | None = None,
        templates: str | Sequence[str] | None = None,
        *,
        scores: bool = False,
        on_error: Callable[[str, Exception], None] | None = None,
    ) -> Iterator[Segmentation]:
        """Segment pictures one after another.

        Args:
            images: paths of pictures or folders, or arrays as `mmcv.imread` gives them (BGR uint8 [H, W, 3]).
            vocabulary: the words; None keeps those set before. See `set_vocabulary`.
            templates: prompt templates; None keeps the present ones.
            scores: whether to give the scores of all words too.
            on_error: called with a picture's source and its error, and the rest is done; None: the error is
                raised.

        Yields:
            One result for each picture that could be read.

        Raises:
            ValueError, FileNotFoundError: for the vocabulary at once; for a picture when it is its turn.
        """
        if vocabulary is not None or templates is not None:
            self.set_vocabulary(self.model.vocabulary if vocabulary is None else vocabulary, templates)
        if not self.model.vocabulary:
            raise ValueError("no words to look for: give a vocabulary, such as 'cat, grass, traffic light'")
        return self._segment_all(self._pictures(images), scores, on_error)

    @staticmethod
    def _pictures(images: Picture | Sequence[Picture]) -> list[tuple[str, Picture]]:
        if isinstance(images, (str, Path, np.ndarray)):
            images = [images]
        pictures: list[tuple[str, Picture]] = []
        for position, image in enumerate(images):
            if isinstance(image, np.ndarray):
                pictures.append((f"picture {position}", image))
            else:
                pictures += [(str(path), path) for path in list_images([image])]
        return pictures

    def _segment_all(
        self,
        pictures: list[tuple[str, Picture]],
        scores: bool,
        on_error: Callable[[str, Exception], None] | None,
    ) -> Iterator[Segmentation]:
        for source, picture in pictures:
            try:
                yield self._segment(source, picture, scores)
            except (ValueError, FileNotFoundError) as error:
                if on_error is None:
                    raise
                on_error(source, error)

    def _segment(self, source: str, picture: Picture, scores: bool) -> Segmentation:
        image = check_array(picture, source) if isinstance(picture, np.ndarray) else read_image(picture)
        height, width = image.shape[:2]
        patch = self.model.backbone.image_tower.patch_size
        if min(height, width) < patch:
            raise ValueError(
                f"{source} is {height} x {width} pixels, smaller than one patch of {patch} x {patch}"
            )
        bgr = torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)))
        sample = SegDataSample(metainfo=dict(ori_shape=(height, width), img_shape=(height, width)))
        with torch.no_grad():
            result = self.model.test_step(dict(inputs=[bgr], data_samples=[sample]))[0]
        maps = None
        if scores:
            if "seg_logits" not in result:
                raise ValueError(
                    f"the scores of {len(self.model.vocabulary)} words for {source} take more memory than "
                    "test_cfg.score_memory allows; raise it, or ask for fewer words"
                )
            maps = result.seg_logits.data.cpu().numpy()
        labels = result.pred_sem_seg.data[0].cpu().numpy()
        return Segmentation(source, image, labels, tuple(result.metainfo["vocabulary"]), maps)
