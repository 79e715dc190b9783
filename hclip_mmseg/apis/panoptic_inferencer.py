"""Panoptic segmentation of images into given class names, from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray
from torch import nn

from hclip_mmseg.apis.mmdet_inferencer import MMDetInferencer
from hclip_mmseg.mask_classification.mask_classifier import MaskClassifier
from hclip_mmseg.mask_classification.segments import PanopticSegmentation, list_segments


class PanopticInferencer(MMDetInferencer[PanopticSegmentation]):
    """Parts images into segments of any class names: things counted one by one, and stuff.

        inferencer = PanopticInferencer("configs/fisa/fisa_vitl14-336_swin-b_coco-panoptic.py", "iter_25000.pth")
        inferencer.set_vocabulary("cat, umbrella, grass", stuff="grass")
        for result in inferencer(["park.jpg"]):
            print(result.source, [segment.title for segment in result.segments])

    Images are resized as the config resizes those that it tests on.

    Args:
        config: path of a mask classifier's config, the config, or a name that ``hclip-models`` lists.
        checkpoint: its trained weights; None: of a name, what is published.
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

    def answer(self, source: str, image: NDArray[np.uint8]) -> PanopticSegmentation:
        """The segments of one image, RGB uint8 [H, W, 3]; ``source`` is its path or place."""
        result = self.tested(image)
        words = tuple(result.metainfo["vocabulary"])
        labels = result.pred_sem_seg.sem_seg[0].cpu().numpy()
        if "pred_panoptic_seg" not in result:
            return PanopticSegmentation(source, image, np.zeros(labels.shape, np.int32), (), labels, words)
        raw = result.pred_panoptic_seg.sem_seg[0].cpu().numpy()
        ids, segments = list_segments(raw, words, self.model.things.tolist())
        return PanopticSegmentation(source, image, ids, segments, labels, words)
