"""COCO's run lengths of masks, checked before pycocotools, which trusts them, decodes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_masks

MOST_PIXELS = 1 << 28
"""Pixels of the largest image whose masks are read; 16,384 x 16,384."""
MOST_DIGITS = 6
"""Digits of a compressed number, which are of 5 bits; pixels of the largest image have fewer."""


def compressed_run_lengths(mask: object) -> dict[str, Any]:
    """A mask's run lengths in the form that pycocotools decodes, measures and merges.

    Args:
        mask: ``size`` [rows, columns] and ``counts``: pixels off, on, off ... down the columns, as a list or compressed
            in a text.

    Raises:
        ValueError: if it is none, is of no image's size, or its counts do not add up to its pixels. pycocotools leaves
            pixels that no count stands for as its memory happens to be.
    """
    if not isinstance(mask, Mapping) or not {"size", "counts"} <= set(mask):
        raise ValueError("it is neither polygons nor run lengths")
    size, counts = mask["size"], mask["counts"]
    sides = isinstance(size, list | tuple) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    if not sides or size[0] * size[1] > MOST_PIXELS:
        raise ValueError(f"no image is of size {size!r}")
    rows, columns = size
    lengths = _listed(counts) if isinstance(counts, list) else _numbers_in(counts)
    if lengths and min(lengths) < 0:
        raise ValueError(f"its run lengths are damaged: one is {min(lengths)}")
    if sum(lengths) != rows * columns:
        raise ValueError(
            f"its run lengths are damaged: they are of {sum(lengths)} pixels, its size of {columns} x {rows} is "
            f"{rows * columns}"
        )
    runs: dict[str, Any] = dict(size=[rows, columns], counts=counts)
    return coco_masks.frPyObjects(runs, rows, columns) if isinstance(counts, list) else runs


def _listed(counts: list[Any]) -> list[int]:
    odd = [count for count in counts if type(count) is not int]
    if odd:
        raise ValueError(f"its run lengths hold {odd[0]!r}, which is no whole number")
    return counts


def _numbers_in(text: object) -> list[int]:
    """The run lengths in a compressed text.

    A digit holds 5 bits, the lowest come first, and whether another follows; the last one's highest bit is the sign.
    From the fourth number on, the last but one is subtracted.
    """
    if not isinstance(text, str | bytes) or not text:
        raise ValueError("its run lengths are neither a list of numbers nor a compressed text")
    digits = np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8).astype(np.int64) - 48
    is_last = (digits & 32) == 0
    first = np.flatnonzero(np.concatenate([[True], is_last[:-1]]))
    place = np.arange(len(digits)) - np.repeat(first, np.diff(first, append=len(digits)))
    if np.min(digits) < 0 or np.max(digits) > 63 or not is_last[-1] or np.max(place) >= MOST_DIGITS:
        raise ValueError("its run lengths are damaged: no compressed numbers")
    numbers: NDArray[np.int64] = np.add.reduceat((digits & 31) << 5 * place, first)
    numbers -= ((digits[is_last] & 16) != 0) * (np.int64(1) << 5 * (place[is_last] + 1))
    for start in (1, 2):
        numbers[start::2] = numbers[start::2].cumsum()
    return numbers.tolist()
