"""Images at the size that CLIP is run at."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def at_resolution(images: Tensor, shorter: int, patch: int) -> Tensor:
    """Images with the shorter side at ``shorter`` pixels and both sides rounded to whole patches.

    Args:
        images: [B, 3, H, W].
        shorter: in pixels.
        patch: side of a patch in pixels.

    Returns:
        [B, 3, h, w]; the images themselves where they already are of that size.
    """
    height, width = map(int, images.shape[-2:])  # numbers in traces too
    scale = shorter / min(height, width)
    size = tuple(max(round(side * scale / patch), 1) * patch for side in (height, width))
    if size == (height, width):
        return images
    return F.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=True)
