"""One colour for every class name, the same in every run."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import islice

import numpy as np
from numpy.typing import NDArray

CELLS = (64, 32, 16, 8, 4, 1)
TRIES = 24
APART = (24.0, 16.0, 10.0, 5.0)
"""Distances in CIELAB that colours should have for every reader, the first that can be had."""
COMPARED = 64
"""Names whose colours keep such distances from each other; of more, colours only differ."""

READERS = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
)
"""Linear RGB -> what is seen of it with all cones, without long, without middle, without short ones (Machado, Oliveira
and Fernandes, A physiologically-based model for simulation of color vision deficiency, 2009, severity 1)."""


def name_colours(names: Sequence[str]) -> NDArray[np.uint8]:
    """Colours of class names, RGB in 0..255, of shape [len(names), 3].

    A colour follows from its name alone, unless an earlier name has one too near. No two names share a
    colour: the RGB cube is cut into cells, coarse ones first, and a cell is given to one name. Few names have colours
    that colour-blind readers tell apart, too.
    """
    taken: dict[int, set[tuple[int, ...]]] = {size: set() for size in CELLS}
    chosen = np.zeros((len(names), 3), np.uint8)
    seen: NDArray[np.float64] = np.zeros((0, len(READERS), 3))
    for position, name in enumerate(names):
        colour = _free_colour(name, taken, seen)
        for size in CELLS:
            taken[size].add(_cell(colour, size))
        chosen[position] = colour
        if position < COMPARED:
            seen = np.concatenate([seen, _as_seen(colour)[None]])
    return chosen


def _free_colour(name: str, taken: dict[int, set[tuple[int, ...]]], seen: NDArray[np.float64]) -> tuple[int, ...]:
    if len(seen) < COMPARED:
        free = [colour for colour in islice(_candidates(name), TRIES) if _cell(colour, CELLS[0]) not in taken[CELLS[0]]]
        nearest = [_nearest(colour, seen) for colour in free]
        for apart in APART:
            for colour, distance in zip(free, nearest, strict=True):
                if distance >= apart:
                    return colour
    for size in CELLS:
        stream = _candidates(name)
        for _ in range(TRIES):
            colour = next(stream)
            if _cell(colour, size) not in taken[size]:
                return colour
    return next(colour for colour in stream if colour not in taken[1])


def _nearest(colour: tuple[int, ...], seen: NDArray[np.float64]) -> float:
    """The smallest distance from colours [n, readers, 3], over all readers."""
    return float(np.min(np.linalg.norm(seen - _as_seen(colour), axis=-1), initial=np.inf))


@lru_cache(maxsize=1 << 14)
def _as_seen(colour: tuple[int, ...]) -> NDArray[np.float64]:
    """CIELAB of a colour (D65) as each kind of reader sees it: [readers, 3]."""
    rgb = np.array(colour) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz_of_rgb = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = (READERS @ linear).clip(0, 1) @ xyz_of_rgb.T / (0.9505, 1.0, 1.089)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=-1)


def _cell(colour: tuple[int, ...], size: int) -> tuple[int, ...]:
    return tuple(channel // size for channel in colour)


def _candidates(name: str) -> Iterator[tuple[int, ...]]:
    """Vivid colours drawn from a hash of the name, without end."""
    attempt = 0
    while True:
        digest = blake2b(f"{attempt}:{name}".encode(), digest_size=3).digest()
        hue, saturation, value = (byte / 255 for byte in digest)
        rgb = colorsys.hsv_to_rgb(hue, 0.5 + 0.5 * saturation, 0.4 + 0.6 * value)
        yield tuple(round(255 * channel) for channel in rgb)
        attempt += 1
