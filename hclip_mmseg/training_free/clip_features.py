"""CLIP's own patches in the place of another model's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from hclip_mmseg.clip import AdaptedTower, ImageTower, build_clip
from hclip_mmseg.clip.attention import attend, finish_block, run_block


@MODELS.register_module()
class CLIPPatchFeatures(nn.Module):
    """Patches of a middle block of a frozen CLIP, where a method asks another vision model.

    For whoever has no second model: ProxyCLIP, LPOSS, CorrCLIP and OV-Stitcher run with it. It has the interface of
    :class:`~.timm_features.TimmPatchFeatures`.

    Args:
        clip: arguments of :func:`~hclip_mmseg.clip.build_clip`, such as ``dict(model='ViT-B-16', pretrained=FILE)``.
        layer: the block that is read, from 0 or negative from behind the last; -3 of 6 blocks is at two thirds of the
            depth.

    Raises:
        ValueError: if the tower has no such block, or none before it.
    """

    def __init__(self, clip: Mapping[str, Any], layer: int = -3) -> None:
        super().__init__()
        self.tower = ImageTower(build_clip(**clip).visual)
        self.layer = layer + self.tower.layers if layer < 0 else layer
        if not 0 < self.layer < self.tower.layers:
            raise ValueError(
                f"CLIPPatchFeatures.layer {layer} must be a block from the second to the last of {self.tower.layers}"
            )
        self.requires_grad_(False)

    def grid_of(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of this model's own patches in images of a height and width in pixels, at least 1."""
        patch = self.tower.patch_size
        return max(height // patch, 1), max(width // patch, 1)

    def last_qkv(self, images: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """q, k and v of the block that is read, each [B, patches, width]; arguments as :meth:`forward`."""
        return self.last_block(images, grid)[1:]

    def last_block(self, images: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What goes into that block and its q, k and v, each [B, patches, width]; arguments as :meth:`forward`."""
        x = self._run(images, grid, self.layer)
        parts = (x, *self._projections(self.layer).qkv(self.tower.blocks[self.layer].ln_1(x)))
        tokens, q, k, v = (part[:, 1:] for part in parts)
        return tokens, q, k, v

    def final_norm(self, tokens: Tensor) -> Tensor:
        """Tokens [..., width] behind the norm that follows CLIP's last block."""
        normed: Tensor = self.tower.ln_post(tokens)
        return normed

    def finish_last_block(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """That block's output [B, patches, width] from its parts, which may be of several windows together."""
        block = self.tower.blocks[self.layer]
        return finish_block(block, x, attend(q, k, v, block.attn.num_heads), self._projections(self.layer))

    def forward(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Features on a grid.

        Args:
            images: normalised for CLIP, [B, 3, H, W].
            grid: rows and columns of patches that are wanted.

        Returns:
            [B, 1 + patches, width], of unit norm, the CLS token first.
        """
        return F.normalize(self._run(images, grid, self.layer + 1), dim=-1)

    def _run(self, images: Tensor, grid: tuple[int, int], count: int) -> Tensor:
        """Tokens after the first blocks, CLS first, of images at the size of the grid."""
        size = (grid[0] * self.tower.patch_size, grid[1] * self.tower.patch_size)
        if tuple(images.shape[-2:]) != size:
            images = F.interpolate(images, size=size, mode="bicubic", antialias=True)
        x = self.tower.embed(images)
        for index, block in enumerate(self.tower.blocks[:count]):
            x = run_block(block, x, self._projections(index))
        return x

    def _projections(self, index: int) -> Any:
        return AdaptedTower(self.tower, None).projections(index)
