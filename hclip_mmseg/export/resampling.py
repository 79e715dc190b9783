"""Resizing maps in numpy as torch resizes them, corners not aligned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Size = tuple[int, int]


def bilinear(maps: Floats, size: Size) -> Floats:
    """Maps [..., h, w] at another size, each pixel a mean of the two nearest along each axis.

    As ``F.interpolate(mode="bilinear", align_corners=False)``; ``maps`` themselves where they have that size.
    """
    if maps.shape[-2:] == tuple(size):
        return maps
    return _along(_along(maps, size[1], -1), size[0], -2)


def _along(maps: Floats, length: int, axis: int) -> Floats:
    given = maps.shape[axis]
    if given == length:
        return maps
    scale = np.float32(given) / np.float32(length)
    places = np.maximum(scale * (np.arange(length, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), 0)
    first = np.minimum(places.astype(np.int64), given - 1)
    second = np.minimum(first + 1, given - 1)
    share = (places - first).astype(np.float32)
    if axis == -2:
        share = share[:, None]
    mixed: Floats = maps.take(second, axis)
    mixed *= share
    mixed += maps.take(first, axis) * (1 - share)
    return mixed


def antialiased(image: Floats, size: Size, kernel: str = "bilinear") -> Floats:
    """An image [3, H, W] at another size, each pixel a mean of all that it covers.

    As ``F.interpolate(antialias=True, align_corners=False)``.

    Args:
        image: the image.
        size: height and width of the result.
        kernel: 'bilinear' or 'bicubic'.
    """
    rows, columns = (_weights(given, wanted, kernel) for given, wanted in zip(image.shape[-2:], size, strict=True))
    resized: Floats = rows @ (image @ columns.T)
    return resized


def _weights(given: int, wanted: int, kernel: str) -> Floats:
    """[wanted, given], the share of each given pixel in each wanted one."""
    shape, reach = KERNELS[kernel]
    scale = given / wanted
    spread = max(scale, 1.0)
    centres = scale * (np.arange(wanted) + 0.5)
    first = np.maximum((centres - reach * spread + 0.5).astype(int), 0)
    last = np.minimum((centres + reach * spread + 0.5).astype(int), given)
    pixels = np.arange(given)
    weights = shape((pixels + 0.5 - centres[:, None]) / spread)
    weights *= (pixels >= first[:, None]) & (pixels < last[:, None])
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1 - np.abs(x), 0)


def _cubic(x: NDArray[np.float64], a: float = -0.5) -> NDArray[np.float64]:
    """Keys' cubic convolution with Pillow's constant, which torch takes where it antialiases."""
    x = np.abs(x)
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, inner, np.where(x < 2, outer, 0))


KERNELS: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], float]] = {
    "bilinear": (_triangle, 1.0),
    "bicubic": (_cubic, 2.0),
}
"""Name -> the kernel's shape, and how far it reaches in pixels."""
