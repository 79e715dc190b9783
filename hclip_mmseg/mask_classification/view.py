"""The size at which a segmentor looks at an image, whatever size the image comes in."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def view_size(size: Sequence[int], view: Sequence[int] | None) -> tuple[int, int]:
    """Height and width of the view of an image.

    Args:
        size: height and width of the image.
        view: length of the shorter side and greatest length of the longer one, in pixels; None keeps the size.

    Returns:
        Both sides rounded half up, at least 1.
    """
    if view is None:
        return int(size[0]), int(size[1])
    short, long = sorted(view)
    scale = min(short / min(size), long / max(size))
    return max(int(size[0] * scale + 0.5), 1), max(int(size[1] * scale + 0.5), 1)


def viewed(image: Tensor, view: Sequence[int] | None, divisor: int) -> tuple[Tensor, tuple[int, int]]:
    """An image resized to its view and filled up with zeros.

    Args:
        image: normalised [3, H, W], without padding.
        view: see :func:`view_size`.
        divisor: of both sides of the result.

    Returns:
        [1, 3, h, w], and the size of the view in its upper left corner.
    """
    size = view_size(image.shape[-2:], view)
    resized = image[None]
    if tuple(image.shape[-2:]) != size:
        resized = F.interpolate(resized, size, mode="bilinear", align_corners=False, antialias=True)
    return F.pad(resized, (0, -size[1] % divisor, 0, -size[0] % divisor)), size
