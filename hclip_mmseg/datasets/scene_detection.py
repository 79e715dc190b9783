"""The rendered scenes as a data set of MMDetection: each object a box; registered by ``hclip_mmseg.detection``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS, TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes

from hclip_mmseg.datasets.classes_in_images import classes_in_image
from hclip_mmseg.datasets.scenes import RenderScene, SceneDataset, rendering
from hclip_mmseg.demo_assets.scenes import BACKGROUNDS, HELD_OUT_NAMES, SCENE_CLASSES, TRAIN_NAMES
from hclip_mmseg.visualization.colours import name_colours

TRAIN_OBJECTS = tuple(name for name in TRAIN_NAMES if name not in BACKGROUNDS)
HELD_OUT_OBJECTS = tuple(name for name in HELD_OUT_NAMES if name not in BACKGROUNDS)
OBJECTS = TRAIN_OBJECTS + HELD_OUT_OBJECTS
NO_OBJECT = 255
LABEL_MAP = {old: OBJECTS.index(name) if name in OBJECTS else NO_OBJECT for old, name in enumerate(SCENE_CLASSES)}


@TRANSFORMS.register_module()
class BoxesFromLabels(BaseTransform):
    """The box of the pixels of every label: the objects of a scene all have names of their own.

    Required keys: ``gt_seg_map`` (``uint8 [H, W]``, 255 where there is no object). Added keys: ``gt_bboxes`` (x1, y1,
    x2, y2, the last pixel included), ``gt_bboxes_labels``, ``gt_ignore_flags``, and ``instances``, the same as
    MMDetection's data sets list them. An image without labels is passed on as it is.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        if "gt_seg_map" not in results:
            return results
        labels = results["gt_seg_map"]
        found = [label for label in np.unique(labels).tolist() if label != NO_OBJECT]
        boxes = np.zeros((len(found), 4), np.float32)
        for box, label in zip(boxes, found, strict=True):
            rows, columns = np.nonzero(labels == label)
            box[:] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        results["gt_bboxes"] = HorizontalBoxes(torch.from_numpy(boxes))
        results["gt_bboxes_labels"] = np.array(found, np.int64)
        results["gt_ignore_flags"] = np.zeros(len(found), bool)
        results["instances"] = [
            dict(bbox=box, bbox_label=label, ignore_flag=0) for box, label in zip(boxes.tolist(), found, strict=True)
        ]
        return results


@DATASETS.register_module()
class SceneDetectionDataset(BaseDetDataset):
    """Scenes with exact boxes, rendered when they are asked for: the scenes of ``SceneDataset``, without their stuff.

    ``split='train'`` shows and names the training names only; ``split='val'`` mixes all names, and its metainfo tells
    under ``held_out`` which of them no box was shown for. Labels are the same in both splits. The pipeline begins
    with ``mmseg.RenderScene``, or ``LoadImageFromFile``, which stands for it here, and ``BoxesFromLabels``.

    Args:
        split, length, image_size, seed, num_objects, radius: of ``SceneDataset``.
        kwargs: of MMDetection's ``BaseDetDataset``.

    Raises:
        ValueError: as ``SceneDataset``.
    """

    METAINFO = dict(classes=OBJECTS, held_out=HELD_OUT_OBJECTS)

    def __init__(
        self,
        *,
        split: str,
        length: int,
        image_size: int = 192,
        seed: int = 0,
        num_objects: tuple[int, int] = (2, 4),
        radius: tuple[float, float] = (24.0, 42.0),
        pipeline: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        self.scenes = SceneDataset(
            split=split,
            length=length,
            image_size=image_size,
            seed=seed,
            num_objects=num_objects,
            radius=radius,
            lazy_init=True,
        )
        classes = TRAIN_OBJECTS if split == "train" else OBJECTS
        kwargs["metainfo"] = {
            "classes": classes,
            "palette": [tuple(colour) for colour in name_colours(classes).tolist()],
            "held_out": () if split == "train" else HELD_OUT_OBJECTS,
            **(kwargs.get("metainfo") or {}),
        }
        super().__init__(pipeline=rendering(pipeline), **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry a scene; ``img_path`` names it in results and images, there is no such file."""
        size = self.scenes.scene_arguments["size"]
        return [
            dict(entry, img_id=index, height=size, width=size, label_map=LABEL_MAP, instances=[])
            for index, entry in enumerate(self.scenes.load_data_list())
        ]

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the objects that a scene shows."""
        return classes_in_image(self.get_data_info(idx), RenderScene(), len(self.metainfo["classes"]))
