"""The rendered scenes with masks: objects are things, backgrounds are stuff."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmseg.registry import DATASETS, TRANSFORMS

from hclip_mmseg.datasets.scenes import SceneDataset
from hclip_mmseg.demo_assets.scenes import BACKGROUNDS


@DATASETS.register_module()
class ScenePanopticDataset(SceneDataset):
    """``SceneDataset`` that tells which of its names are things (metainfo ``thing_classes``)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._metainfo["thing_classes"] = self._things()

    def _things(self) -> tuple[str, ...]:
        return tuple(name for name in self._metainfo["classes"] if name not in BACKGROUNDS)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry a scene; see ``SceneDataset``."""
        classes, things = self._metainfo["classes"], self._things()
        labels = tuple(label for label, name in enumerate(classes) if name in things)
        return [dict(entry, thing_labels=labels) for entry in super().load_data_list()]


@TRANSFORMS.register_module()
class MasksFromLabels(BaseTransform):
    """The masks of a scene's objects: each has a name of its own, so the pixels of a label are an instance.

    Required keys: ``gt_seg_map`` (``uint8 [H, W]``), ``thing_labels``. Added keys: ``gt_masks``, ``gt_bboxes``,
    ``gt_bboxes_labels``, ``gt_ignore_flags``.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        labels = results["gt_seg_map"]
        found = [label for label in np.unique(labels).tolist() if label in results["thing_labels"]]
        masks = np.array([labels == label for label in found], np.uint8).reshape(-1, *labels.shape)
        results["gt_masks"] = BitmapMasks(masks, *labels.shape)
        results["gt_bboxes"] = results["gt_masks"].get_bboxes(HorizontalBoxes)
        results["gt_bboxes_labels"] = np.array(found, np.int64)
        results["gt_ignore_flags"] = np.zeros(len(found), bool)
        return results
