"""Labels that belong to no class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hclip_mmseg.files.errors import InputError

NO_CLASS_16_BIT = 65535


def label_of_no_class(classes: int) -> int:
    """The label of pixels without a class: 255 where 8 bits hold all labels, else 65535."""
    return 255 if classes <= 255 else NO_CLASS_16_BIT


@torch.compiler.disable  # decides by values, which a graph cannot
def label_outside(labels: Tensor, classes: int, ignore_index: int | None = None) -> int | None:
    """The first label that is neither one of ``classes`` (from 0) nor ``ignore_index``; None if there is none.

    Args:
        labels: of any shape.
        classes: number of classes.
        ignore_index: label that stands for no class, if there is such a label.
    """
    outside = (labels >= classes) | (labels < 0)
    if ignore_index is not None:
        outside &= labels != ignore_index
    return int(labels[outside][0]) if outside.any() else None


def check_labels(labels: Tensor, classes: int, meta: Mapping[str, Any], ignore_index: int | None = None) -> None:
    """Check that all labels of an image belong to a vocabulary.

    Args:
        labels: of any shape.
        classes: number of names in the vocabulary.
        meta: the image's meta information; ``seg_map_path``, else ``img_path``, is the file that the error names.
        ignore_index: label that stands for no class, if there is such a label.

    Raises:
        ValueError: which label is outside, in which file.
    """
    file = meta.get("seg_map_path") or meta.get("img_path") or "a label map"
    if labels.ndim > 3 or (labels.ndim == 3 and labels.shape[0] != 1):
        raise InputError(
            f"{file} has labels of shape {list(labels.shape)}, as a colour image has: a label map is grey, or "
            "palette: the number of its class at each pixel"
        )
    label = label_outside(labels, classes, ignore_index)
    if label is None:
        return
    file = meta.get("seg_map_path") or meta.get("img_path") or "a label map"
    if not classes:
        raise ValueError(
            f"label {label} in {file}: the model has no class names yet; training sets them by "
            "default_hooks=dict(vocabulary=dict(type='mmseg.VocabularyHook')), model.set_vocabulary by hand"
        )
    ignored = "" if ignore_index is None else f"; {ignore_index} is ignored"
    cause = "the labels were made for other class names than these"
    if label == classes and int(labels.min()) > 0:
        cause = "labels that start at 1 want reduce_zero_label=True of the data set"
    elif label == 255 and classes < 255:
        cause = "masks drawn as 0 and 255 want to be saved as 0 and 1"
    raise InputError(
        f"label {label} in {file} is outside the vocabulary of {classes} names (0 to {classes - 1}{ignored}): {cause}"
    )
