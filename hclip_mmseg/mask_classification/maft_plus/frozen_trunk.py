"""CLIP's ConvNeXt as it was before training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hclip_mmseg.clip import ConvNeXtTower


class FrozenTrunk(nn.Module):
    """A copy of the tower before training, which representation compensation compares with.

    It is what CLIP's weights make of it, so it is no part of the parameters: checkpoints do not hold it, loading one
    leaves it alone, and it stays as in inference. It follows the module to another device.

    Args:
        tower: the tower, holding CLIP's weights.
    """

    def __init__(self, tower: ConvNeXtTower) -> None:
        super().__init__()
        trunk = copy.deepcopy(tower.trunk).requires_grad_(False).eval()
        trunk.set_grad_checkpointing(False)
        self._unregistered: list[Any] = [trunk]  # in a list, where torch does not look for modules

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FrozenTrunk:
        self._unregistered[0]._apply(fn, recurse)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [B, 3, H, W] -> the last stage's map [B, C, H / stride, W / stride]."""
        features: Tensor = self._unregistered[0].forward_features(images)
        return features
