"""One colour for every class name, the same in every run."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

CELLS = (64, 32, 16, 8, 4, 1)
TRIES = 24


def name_colours(names: Sequence[str]) -> NDArray[np.uint8]:
    """Colours of class names, RGB in 0..255, of shape [len(names), 3].

    A colour follows from its name alone, unless an earlier name has one too near. No two names share a
    colour: the RGB cube is cut into cells, coarse ones first, and a cell is given to one name.
    """
    taken: dict[int, set[tuple[int, ...]]] = {size: set() for size in CELLS}
    chosen = np.zeros((len(names), 3), np.uint8)
    for position, name in enumerate(names):
        colour = _free_colour(name, taken)
        for size in CELLS:
            taken[size].add(_cell(colour, size))
        chosen[position] = colour
    return chosen


def _free_colour(name: str, taken: dict[int, set[tuple[int, ...]]]) -> tuple[int, ...]:
    for size in CELLS:
        stream = _candidates(name)
        for _ in range(TRIES):
            colour = next(stream)
            if _cell(colour, size) not in taken[size]:
                return colour
    return next(colour for colour in stream if colour not in taken[1])


def _cell(colour: tuple[int, ...], size: int) -> tuple[int, ...]:
    return tuple(channel // size for channel in colour)


def _candidates(name: str) -> Iterator[tuple[int, ...]]:
    """Vivid colours drawn from a hash of the name, without end."""
    attempt = 0
    while True:
        digest = blake2b(f"{attempt}:{name}".encode(), digest_size=3).digest()
        hue, saturation, value = (byte / 255 for byte in digest)
        rgb = colorsys.hsv_to_rgb(hue, 0.5 + 0.5 * saturation, 0.6 + 0.4 * value)
        yield tuple(round(255 * channel) for channel in rgb)
        attempt += 1
