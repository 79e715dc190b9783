"""The median of a square window around every pixel: by comparisons of whole maps on CPUs, by window on GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

AT_ONCE = 1 << 16
"""Pixels of the maps that are compared together: what all maps of a window hold then fits into a processor's cache."""
CHOSEN_AT_ONCE = 1 << 26
"""Numbers of all windows that a GPU looks at together."""


def median_filter(maps: Tensor, side: int) -> Tensor:
    """Maps [n, rows, columns], each pixel replaced by the median of the window of ``side`` pixels around it.

    At the border maps are mirrored, the edge repeated.

    Args:
        maps: [n, rows, columns].
        side: odd.

    Returns:
        [n, rows, columns].

    Raises:
        ValueError: if ``side`` is not an odd number.
    """
    if side < 1 or side % 2 == 0:
        raise ValueError(f"the window of a median must have an odd number of pixels a side, not {side!r}")
    # the thousand comparisons of a window would be as many kernels
    median, numbers = (by_window, CHOSEN_AT_ONCE // side**2) if maps.is_cuda else (by_comparisons, AT_ONCE)
    at_once = max(numbers // maps[0].numel(), 1)
    return torch.cat([median(part, side) for part in maps.split(at_once)])


def by_window(maps: Tensor, side: int) -> Tensor:
    """:func:`median_filter`, every window by itself."""
    windows = _mirrored_around(maps, side // 2).unfold(1, side, 1).unfold(2, side, 1).flatten(-2)
    if torch.are_deterministic_algorithms_enabled():  # places of equal numbers are not, which nobody asks for here
        return windows.sort(dim=-1).values[..., side * side // 2]
    return windows.kthvalue(side * side // 2 + 1, dim=-1).values


def by_comparisons(maps: Tensor, side: int) -> Tensor:
    """:func:`median_filter`, by comparisons of whole maps.

    In a square of numbers whose columns and then rows are sorted, both stay sorted, so that few places can hold the
    median (Smith, *Implementing median filters in XC4000E FPGAs*, 1996); and the columns are sorted once for all
    windows that they belong to.
    """
    height, width = maps.shape[-2:]
    padded = _mirrored_around(maps, side // 2)
    by_rank = _sorted([padded[:, start : start + height] for start in range(side)])
    square = [_sorted([row[:, :, start : start + width] for start in range(side)]) for row in by_rank]
    return _middle([square[i][j] for i, j in possible_places(side)])


def possible_places(side: int) -> list[tuple[int, int]]:
    """Where the median can be in a square of numbers whose rows and columns are sorted: as many on both sides of it."""
    half = (side * side + 1) // 2
    places = ((i, j) for i in range(side) for j in range(side))
    return [(i, j) for i, j in places if (i + 1) * (j + 1) <= half and (side - i) * (side - j) <= half]


def _sorted(values: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of one shape sorted place by place, by Batcher's network."""
    found = list(values)
    for i, j in _comparisons(len(found)):
        found[i], found[j] = torch.minimum(found[i], found[j]), torch.maximum(found[i], found[j])
    return found


def _comparisons(count: int) -> Iterator[tuple[int, int]]:
    """Pairs that are compared and exchanged in turn to sort ``count`` numbers (Knuth, volume 3, 5.2.2, Algorithm M)."""
    merged = 1
    while merged < count:
        apart = merged
        while apart:
            for start in range(apart % merged, count - apart, 2 * apart):
                for i in range(start, min(start + apart, count - apart)):
                    if i // (2 * merged) == (i + apart) // (2 * merged):
                        yield i, i + apart
            apart //= 2
        merged *= 2


def _middle(values: Sequence[Tensor]) -> Tensor:
    """The median of an odd number of tensors, place by place.

    The least and the greatest of more than half of them are not the median: they are dropped, and another comes in.
    """
    first = len(values) // 2 + 2
    kept, waiting = list(values[:first]), list(values[first:])
    while len(kept) > 1:
        kept = _without_extremes(kept)
        kept += [waiting.pop()] if waiting else []
    return kept[0]


def _without_extremes(values: list[Tensor]) -> list[Tensor]:
    """Tensors, at least 2, without the least and the greatest of every place."""
    count = len(values)
    pairs = [(i, count - 1 - i) for i in range(count // 2)]
    of_least = [(0, i) for i in range(1, (count + 1) // 2)]
    of_greatest = [(i, count - 1) for i in range(count // 2, count - 1)]
    for i, j in (*pairs, *of_least, *of_greatest):
        values[i], values[j] = torch.minimum(values[i], values[j]), torch.maximum(values[i], values[j])
    return values[1:-1]


def _mirrored_around(maps: Tensor, margin: int) -> Tensor:
    """Maps mirrored behind their borders, the edge repeated: [n, margin + rows + margin, margin + columns + margin]."""
    down, right = (_mirrored(length, margin, maps.device) for length in maps.shape[-2:])
    return maps[:, down][:, :, right]


def _mirrored(length: int, margin: int, device: torch.device) -> Tensor:
    """Indices of a line that is mirrored behind its ends, the last element repeated."""
    places = torch.arange(-margin, length + margin, device=device) % (2 * length)
    return torch.where(places < length, places, 2 * length - 1 - places)
