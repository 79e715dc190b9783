"""Panoptic segmentation of images into given class names, from Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from mmdet.structures import DetDataSample
from mmengine.config import Config
from numpy.typing import NDArray
from torch import nn

from hclip_mmseg.apis.mmdet_inferencer import MMDetInferencer
from hclip_mmseg.files.showing import with_article
from hclip_mmseg.mask_classification.mask_classifier import MaskClassifier
from hclip_mmseg.mask_classification.segments import list_segments
from hclip_mmseg.results import Result

OF_SEGMENTS = {
    "threshold": "segments go by model.test_cfg.object_threshold",
    "other": "pixels of no segment are left without one",
}
"""Rules that have no meaning for segments -> why."""


class PanopticInferencer(MMDetInferencer):
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
        if panoptic:
            self.without = OF_SEGMENTS
        self.model.results.update(semantic=True, panoptic=panoptic, instance=False)

    def check(self, model: nn.Module, kind: str) -> None:
        """Raises ValueError for a model that classifies no masks."""
        if not isinstance(model, MaskClassifier):
            raise ValueError(f"{with_article(kind)} gives no panoptic results: take a config that classifies masks")

    def result(self, source: str, image: NDArray[np.uint8], sample: DetDataSample) -> Result:
        """The segments of an image; see ``MMDetInferencer``."""
        question = self.question
        found = sample.pred_sem_seg.cpu().numpy()
        labels, certainty = found.sem_seg[0], found.score[0].clip(max=1)  # a sum over masks
        result = question.segmented(source, image, labels, certainty, presence=sample.metainfo["presence"])
        if "pred_panoptic_seg" not in sample:
            return result
        names, things = question.groups.names, question.groups.things
        ids, segments = list_segments(sample.pred_panoptic_seg.sem_seg[0].cpu().numpy(), names, things)
        reported = tuple(segment for segment in segments if segment.label < question.reported)
        ids = np.where(np.isin(ids, [segment.id for segment in reported]), ids, 0)
        return replace(result, ids=ids, segments=reported)
