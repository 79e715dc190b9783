"""CLIP's image tower for dense prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from open_clip.transformer import Transformer, VisionTransformer
from torch import Tensor, nn

from hclip_mmseg.adapters import Adapter
from hclip_mmseg.adapters.base import Block, Tower
from hclip_mmseg.clip.adapted_tower import AdaptedTower
from hclip_mmseg.clip.attention import run_block, run_dense_block
from hclip_mmseg.clip.positions import HeldPositions


class ImageTower(nn.Module):
    """A vision transformer of open_clip that gives tokens instead of one embedding.

    Takes over the modules of ``visual``; parameter names stay open_clip's (``conv1.weight``,
    ``transformer.resblocks.0.attn.in_proj_weight`` ...), so a state dict moves in either direction.

    Args:
        visual: open_clip's vision transformer, with a CLS token and without attentional pooling.
        interpolation: how positional embeddings are resized, 'bicubic' or 'bilinear'.
    """

    name: ClassVar[Tower] = "image"

    def __init__(self, visual: VisionTransformer, interpolation: str = "bicubic") -> None:
        super().__init__()
        self.interpolation = interpolation
        self.conv1: nn.Conv2d = visual.conv1
        self.class_embedding: nn.Parameter = visual.class_embedding
        self.positional_embedding: nn.Parameter = visual.positional_embedding
        self.ln_pre: nn.Module = visual.ln_pre
        self.transformer: Transformer = visual.transformer
        self.ln_post: nn.Module = visual.ln_post
        self.proj: nn.Parameter = visual.proj
        self.grid_size: tuple[int, int] = tuple(visual.grid_size)
        self.held_positions = HeldPositions()

    @property
    def blocks(self) -> Sequence[Block]:
        """The transformer's blocks."""
        blocks: Sequence[Block] = self.transformer.resblocks
        return blocks

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

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

    def grid_of(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches of an image.

        Raises:
            ValueError: if a side is no positive multiple of the patch size.
        """
        patch = self.patch_size
        if height < patch or width < patch or height % patch or width % patch:
            raise ValueError(
                f"the image tower takes images whose sides are multiples of its patch of {patch} pixels, "
                f"got {height} x {width}; resize the image first"
            )
        return height // patch, width // patch

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Positional embeddings [1 + rows * columns, width], the patches' resized to ``grid``."""
        return self.held_positions.resized(self.positional_embedding, self.grid_size, grid, self.interpolation)

    def settle(self) -> None:
        """Hold resized positions without comparing the parameter, until :meth:`forget`."""
        self.held_positions.settle()

    def forget(self) -> None:
        """Drop the resized positions that are held."""
        self.held_positions.forget()

    def embed(self, images: Tensor, adapter: Adapter | None = None) -> Tensor:
        """Normalised images [B, 3, H, W] -> tokens before the first block [B, 1 + patches, width], CLS first."""
        grid = self.grid_of(*images.shape[-2:])
        patches = self.conv1(images.to(self.conv1.weight.dtype)).flatten(2).transpose(1, 2)
        cls = self.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        tokens = torch.cat([cls, patches], dim=1) + self.positions(grid).to(patches.dtype)
        normed: Tensor = self.ln_pre(tokens)
        return normed if adapter is None else adapter.normed("image", None, "ln_pre", normed)

    def project(self, tokens: Tensor, adapter: Adapter | None = None) -> Tensor:
        """ln_post and the projection on every token: [..., width] -> [..., embed_dim]."""
        normed: Tensor = self.ln_post(tokens)
        if adapter is not None:
            normed = adapter.normed("image", None, "ln_last", normed)
        return normed @ self.proj

    def forward(
        self,
        images: Tensor,
        collect: Sequence[int] = (),
        residual: str = "cls",
        adapter: Adapter | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Dense tokens and the outputs of inner blocks (docs/hclip.md, CLIP for dense prediction).

        Args:
            images: normalised images [B, 3, H, W], sides multiples of the patch.
            collect: indices of blocks (from 0) whose outputs are wanted; of the last, the dense tokens before
                their projection.
            residual: see :func:`~hclip_mmseg.clip.attention.run_dense_block`.
            adapter: what changes the tower, where it is not folded into it; None for the tower as it is.

        Returns:
            projected tokens [B, 1 + patches, embed_dim] and, in the order of ``collect``, block outputs
            [B, 1 + patches, width].
        """
        last = self.layers - 1
        x, states = self._run_blocks(images, last, collect, adapter)
        tokens = run_dense_block(self.blocks[last], x, AdaptedTower(self, adapter).projections(last), residual)
        if adapter is not None:
            tokens = adapter.side("image", [*states.values(), tokens])
        states[last] = tokens
        return self.project(tokens, adapter), [states[index] for index in collect]

    def encode_image(self, images: Tensor, adapter: Adapter | None = None) -> Tensor:
        """CLIP's own image embedding [B, embed_dim]: all blocks with attention, read at the CLS token."""
        x, states = self._run_blocks(images, self.layers, (), adapter)
        if adapter is not None:
            x = adapter.side("image", list(states.values()))
        return self.project(x[:, 0], adapter)

    def _run_blocks(
        self, images: Tensor, count: int, collect: Sequence[int], adapter: Adapter | None
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Tokens after the first ``count`` blocks, and after each in ``collect``, or after all for an adapter."""
        states: dict[int, Tensor] = {}
        adapted = AdaptedTower(self, adapter)
        x = self.embed(images, adapter)
        for index, block in enumerate(self.blocks[:count]):
            x = run_block(block, x, adapted.projections(index))
            if adapter is not None or index in collect:
                states[index] = x
        return x, states
