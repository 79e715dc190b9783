"""How many pixels of an image each class has."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from hclip_mmseg.models.score_maps import counts_of


class Areas(NamedTuple):
    """Pixels of each class, int64 [classes], on the device of the label maps.

    Attributes:
        both: that labels and predictions have.
        either: that labels or predictions have.
        predicted, labelled: that each has.
    """

    both: Tensor
    either: Tensor
    predicted: Tensor
    labelled: Tensor


def areas(predicted: Tensor, labels: Tensor, classes: int, ignore_index: int) -> Areas:
    """Counts of one image, in whole numbers and the same under torch's deterministic algorithms; no GPU is waited for.

    Args:
        predicted: integers of any shape; what is none of the classes counts for none.
        labels: integers of the same shape, on the same device.
        classes: number of classes.
        ignore_index: label of pixels that are left out.
    """
    outside = (labels == ignore_index).flatten()
    predicted, labels = (_places(maps.flatten(), classes, outside) for maps in (predicted, labels))
    agreed = predicted.where(predicted == labels, classes)
    both, of_predicted, labelled = (
        counts_of(places, classes + 1)[:classes] for places in (agreed, predicted, labels)
    )
    return Areas(both, of_predicted + labelled - both, of_predicted, labelled)


def _places(maps: Tensor, classes: int, outside: Tensor) -> Tensor:
    """Classes, ``classes`` where a pixel is left out or has none."""
    maps = maps.long()
    return maps.masked_fill(outside | (maps < 0) | (maps >= classes), classes)
