"""Labels that belong to no class."""

from __future__ import annotations

from torch import Tensor

NO_CLASS_16_BIT = 65535


def label_of_no_class(classes: int) -> int:
    """The label of pixels without a class: 255 where 8 bits hold all labels, else 65535."""
    return 255 if classes <= 255 else NO_CLASS_16_BIT


def label_outside(labels: Tensor, classes: int, ignore_index: int) -> int | None:
    """The first label that is neither one of ``classes`` (from 0) nor ``ignore_index``; None if there is none.

    Args:
        labels: a label map of any shape.
        classes: number of classes.
        ignore_index: label that stands for no class.
    """
    outside = (labels != ignore_index) & ((labels >= classes) | (labels < 0))
    return int(labels[outside][0]) if outside.any() else None
