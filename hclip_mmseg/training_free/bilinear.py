"""Bilinear resizing as two matrix products: rows and columns go apart, and maps of patches are small."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_weights(source: int, target: int) -> Tensor:
    """What a bilinear resize of a line takes of each place, corners not aligned: fp64 [target, source]."""
    unit = torch.eye(source, dtype=torch.float64)[None]
    return unit[0] if source == target else F.interpolate(unit, size=target, mode="linear")[0].T


def resized_by(down: Tensor, maps: Tensor, right: Tensor) -> Tensor:
    """down @ maps @ right^T in full precision, whatever autocast says.

    In fp64 on CUDA, where products of fp32 may be rounded to TF32.

    Args:
        down: weights of rows, [H, rows].
        maps: [n, rows, columns].
        right: weights of columns, [W, columns].

    Returns:
        fp32 [n, H, W].
    """
    dtype = torch.float64 if maps.is_cuda else torch.float32
    down, maps, right = (x.to(maps.device, dtype) for x in (down, maps, right))
    with torch.autocast(maps.device.type, enabled=False):
        return (down @ (maps @ right.T)).float()
