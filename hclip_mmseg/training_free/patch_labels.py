"""Labels of patches from labels of pixels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

SAMPLES = 8
"""Pixels looked at along each side of a patch."""


def labels_of_patches(labels: Tensor, grid: tuple[int, int]) -> Tensor:
    """The label that most of each patch has, read at 8 x 8 places of it.

    Args:
        labels: int64 [H, W].
        grid: rows and columns of patches.

    Returns:
        int64 [rows * columns].
    """
    size = (grid[0] * SAMPLES, grid[1] * SAMPLES)
    sampled = F.interpolate(labels[None, None].double(), size=size, mode="nearest-exact")[0, 0].long()
    patches = sampled.unfold(0, SAMPLES, SAMPLES).unfold(1, SAMPLES, SAMPLES).flatten(2).flatten(0, 1)
    return patches.mode(dim=-1).values
