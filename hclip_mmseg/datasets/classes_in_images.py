"""Which classes an image shows, by which MMEngine's ``ClassBalancedDataset`` repeats images of rare ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from hclip_mmseg.files.errors import InputError


def classes_in_image(entry: Mapping[str, Any], load: BaseTransform, classes: int) -> list[int]:
    """Labels of the classes that have a pixel in an image's label map.

    Args:
        entry: of the data set, see ``get_data_info``.
        load: the transform that loads or renders ``gt_seg_map``.
        classes: number of the data set's classes; labels from there on are ignored pixels.

    Raises:
        ValueError: if the image has no label map, or one that cannot be read.
    """
    labels = load.transform({**entry, "seg_fields": []}).get("gt_seg_map")
    if labels is None:
        raise InputError(f"{entry.get('img_path')} has no label map, so images cannot be repeated by their classes")
    return [label for label in np.unique(labels).tolist() if label < classes]
