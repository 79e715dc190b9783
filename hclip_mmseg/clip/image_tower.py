"""CLIP's image tower for dense prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from open_clip.transformer import Transformer, VisionTransformer
from torch import Tensor, nn

from hclip_mmseg.adapters import Adapter
from hclip_mmseg.adapters.base import Block, Norm
from hclip_mmseg.clip.vision_tower import VisionTower


class ImageTower(VisionTower):
    """A vision transformer of open_clip that gives tokens instead of one embedding.

    Takes over the modules of ``visual``; parameter names stay open_clip's (``conv1.weight``,
    ``transformer.resblocks.0.attn.in_proj_weight`` ...), so a state dict moves in either direction.

    Args:
        visual: open_clip's vision transformer, with a CLS token and without attentional pooling.
        interpolation: how positional embeddings are resized, 'bicubic' or 'bilinear'.
    """

    norm_names: ClassVar[Mapping[Norm, str]] = {"ln_pre": "ln_pre", "ln_last": "ln_post"}

    def __init__(self, visual: VisionTransformer, interpolation: str = "bicubic") -> None:
        super().__init__(interpolation)
        self.conv1: nn.Conv2d = visual.conv1
        self.class_embedding: nn.Parameter = visual.class_embedding
        self.positional_embedding: nn.Parameter = visual.positional_embedding
        self.ln_pre: nn.Module = visual.ln_pre
        self.transformer: Transformer = visual.transformer
        self.ln_post: nn.Module = visual.ln_post
        self.proj: nn.Parameter = visual.proj
        self.grid_size = (visual.grid_size[0], visual.grid_size[1])
        self.pooling = "tok" if visual.pool_type == "tok" else "avg, normed" if visual.final_ln_after_pool else "avg"

    @property
    def blocks(self) -> Sequence[Block]:
        """The transformer's blocks."""
        blocks: Sequence[Block] = self.transformer.resblocks
        return blocks

    @property
    def width(self) -> int:
        """Width of the tokens between the blocks."""
        return self.conv1.out_channels

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self.conv1.kernel_size[0]

    @property
    def embed_dim(self) -> int:
        """Width of the embeddings shared with the text tower."""
        return self.proj.shape[1]

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Positional embeddings [1 + rows * columns, width], the patches' resized to ``grid``."""
        return self.held_positions.resized(self.positional_embedding, self.grid_size, grid, self.interpolation)

    def embed(self, images: Tensor, adapter: Adapter | None = None) -> Tensor:
        """Normalised images [B, 3, H, W] -> tokens before the first block [B, 1 + patches, width], CLS first."""
        grid = self.grid_of(*images.shape[-2:])
        patches = self.conv1(images.to(self.conv1.weight.dtype)).flatten(2).transpose(1, 2)
        cls = self.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        tokens = torch.cat([cls, patches], dim=1) + self.positions(grid).to(patches.dtype)
        normed: Tensor = self.ln_pre(tokens)
        if adapter is None or isinstance(self.ln_pre, nn.Identity):
            return normed
        return adapter.normed("image", None, "ln_pre", normed)

    def project(self, tokens: Tensor, adapter: Adapter | None = None) -> Tensor:
        """ln_post and the projection on every token: [..., width] -> [..., embed_dim]."""
        normed: Tensor = self.ln_post(tokens)
        if adapter is not None:
            normed = adapter.normed("image", None, "ln_last", normed)
        return normed @ self.proj

    def pool(self, tokens: Tensor, adapter: Adapter | None = None) -> Tensor:
        """The CLS token's embedding, or the patches' mean as in CLIPA: [B, 1 + patches, width] -> [B, embed_dim]."""
        if self.pooling == "tok":
            return self.project(tokens[:, 0], adapter)
        if self.pooling == "avg, normed":
            return self.project(tokens[:, 1:].mean(dim=1), adapter)
        return self.project(tokens[:, 1:], adapter).mean(dim=1)

    def own_parameters(self, layer: int, of_block: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See :class:`~hclip_mmseg.clip.vision_tower.VisionTower`."""
        return {f"transformer.resblocks.{layer}.{name}": value for name, value in of_block.items()}
