"""A tiny random stand-in for another vision model's patches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class TinyPatchFeatures(nn.Module):
    """Unit-norm random projections of patches of ``patch`` pixels, the CLS token first; as ``TimmPatchFeatures``."""

    def __init__(self, patch: int = 4, width: int = 12) -> None:
        super().__init__()
        self.patch = patch
        generator = torch.Generator().manual_seed(3)
        self.register_buffer("kernel", torch.randn(3 * width, 3, patch, patch, generator=generator))

    def grid_of(self, height: int, width: int) -> tuple[int, int]:
        return height // self.patch, width // self.patch

    def _stacked(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        size = (grid[0] * self.patch, grid[1] * self.patch)
        images = images if images.shape[-2:] == size else F.interpolate(images, size=size, mode="bilinear")
        return F.conv2d(images, self.kernel, stride=self.patch).flatten(2).transpose(1, 2)

    def last_qkv(self, images: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self._stacked(images, grid).chunk(3, dim=-1)
        return q, k, v

    def last_block(self, images: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        q, k, v = self.last_qkv(images, grid)
        return q + v, q, k, v

    def final_norm(self, tokens: Tensor) -> Tensor:
        return F.layer_norm(tokens, tokens.shape[-1:])

    def finish_last_block(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return x + (q @ k.mT * 0.1).softmax(dim=-1) @ v

    def forward(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        tokens = self._stacked(images, grid).chunk(3, dim=-1)[0]
        return F.normalize(torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1), dim=-1)
