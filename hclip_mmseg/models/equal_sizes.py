"""Batches of images of several sizes, taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any


def of_equal_sizes(data: Any) -> list[Any]:
    """A batch of a test, in parts whose images have one size each, in the batch's order.

    MMSegmentation's preprocessor refuses images of several sizes, MMDetection's pads them, which changes scores.

    Args:
        data: what a data loader gives: ``inputs``, images [C, H, W], and other lists of their length, or None.

    Returns:
        The batch alone where its images have one size or are stacked.
    """
    inputs = data.get("inputs") if isinstance(data, Mapping) else None
    if not isinstance(inputs, (list, tuple)) or len({image.shape for image in inputs}) < 2:
        return [data]
    parts = []
    for _, run in groupby(range(len(inputs)), key=lambda index: inputs[index].shape):
        start, *others = run
        own = slice(start, start + 1 + len(others))
        parts.append({key: None if values is None else values[own] for key, values in data.items()})
    return parts
