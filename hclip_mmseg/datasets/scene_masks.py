"""The rendered scenes with masks, objects things and backgrounds stuff; masks from label maps."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmseg.registry import DATASETS, TRANSFORMS

from hclip_mmseg.datasets.scenes import SceneDataset
from hclip_mmseg.demo_assets.scenes import BACKGROUNDS

IGNORED = 255


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
    """A mask for the pixels of every label: a scene's objects have names of their own, so they are its instances.

    Required keys: ``gt_seg_map`` (``uint8 [H, W]``, 255 for ignored pixels); ``thing_labels`` (optional), which labels
    get masks, all where it is missing, as in semantic segmentation. Added keys: ``gt_masks``, ``gt_bboxes``,
    ``gt_bboxes_labels``, ``gt_ignore_flags``.

    Args:
        agnostic: whether backgrounds are masks beside the objects, and all that is told of a mask is whether it is a
            thing (0) or stuff (1): for proposals that know no names.
    """

    def __init__(self, agnostic: bool = False) -> None:
        self.agnostic = agnostic

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        labels = results["gt_seg_map"]
        present = [label for label in np.unique(labels).tolist() if label != IGNORED]
        things = results.get("thing_labels", present)
        found = present if self.agnostic else [label for label in present if label in things]
        masks = np.array([labels == label for label in found], np.uint8).reshape(-1, *labels.shape)
        if self.agnostic:
            found = [0 if label in things else 1 for label in found]
            results["gt_seg_map"] = np.full_like(labels, IGNORED)
        results["gt_masks"] = BitmapMasks(masks, *labels.shape)
        results["gt_bboxes"] = results["gt_masks"].get_bboxes(HorizontalBoxes)
        results["gt_bboxes_labels"] = np.array(found, np.int64)
        results["gt_ignore_flags"] = np.zeros(len(found), bool)
        return results
