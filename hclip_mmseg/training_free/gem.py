"""GEM: several self-attentions, iterated and averaged, in a path beside the last blocks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from hclip_mmseg.clip import ImageTower
from hclip_mmseg.clip.attention import run_block
from hclip_mmseg.training_free.dense import DenseMethod, DenseTokens, ImageContext, Trunk


@MODELS.register_module()
class GEMAttention(DenseMethod):
    """Tokens that take from the last blocks what self-attentions give them (Bousselham et al., CVPR 2024).

    Each block, whose own path goes on as CLIP's, adds out(mean of A_v v, A_k v and A_q v) to the second path, with no
    MLP; A_y = softmax(t y y^T) of y, which starts as v, k or q and is replaced ``iterations`` times by A_y y, brought
    to unit norm per head before each product. t is head_dim^-0.5 times the mean norm of the block's normed tokens.

    Args:
        depth: how many blocks, the last one included; the published code's depth of 7 changes 6.
        iterations: of each self-attention before it mixes the values.
        temperature: t itself, or None.
    """

    def __init__(self, depth: int = 6, iterations: int = 1, temperature: float | None = None) -> None:
        super().__init__()
        if depth < 1 or iterations < 0:
            raise ValueError(f"GEM's depth {depth} must be at least 1 and its iterations {iterations} at least 0")
        self.depth, self.iterations, self.temperature = depth, iterations, temperature

    def check(self, tower: ImageTower) -> None:
        """Raises a ValueError if the tower has fewer blocks."""
        if self.depth > tower.layers:
            raise ValueError(f"GEM's depth {self.depth} is more than the image tower's {tower.layers} blocks")

    def forward(self, trunk: Trunk, pixels: Tensor, context: ImageContext) -> DenseTokens:
        """See :class:`DenseMethod`."""
        tower = trunk.tower
        first = tower.layers - self.depth
        x = tower.embed(pixels)
        beside = x
        for index, block in enumerate(tower.blocks):
            if index == first:
                beside = x
            if index >= first:
                mixed, weights = self._mixed(trunk, x, index, block.attn.num_heads)
                beside = beside + block.ls_1(trunk.projections(index).out(mixed))
            x = run_block(block, x, trunk.projections(index)) if index < trunk.last else x
        context.keep("attention", weights, tower.grid_of(*pixels.shape[-2:]))
        return DenseTokens(beside[:, 1:], tower.grid_of(*pixels.shape[-2:]))

    def _mixed(self, trunk: Trunk, x: Tensor, layer: int, heads: int) -> tuple[Tensor, Tensor]:
        """What a block adds to the second path, before its projection, and its mean attention."""
        normed = trunk.normed(x, layer)
        q, k, v = (y.unflatten(-1, (heads, -1)).transpose(1, 2) for y in trunk.projections(layer).qkv(normed))
        scale: float | Tensor = self.temperature or normed.norm(dim=-1).mean(dim=-1).view(-1, 1, 1, 1)
        if self.temperature is None:
            scale = scale * q.shape[-1] ** -0.5
        weights = torch.zeros(())
        for y in (v, k, q):
            for _ in range(self.iterations):
                y = F.normalize(y, dim=-1)
                y = (scale * y @ y.mT).softmax(dim=-1) @ y
            y = F.normalize(y, dim=-1)
            weights = weights.to(y) + (scale * y @ y.mT).softmax(dim=-1) / 3
        return (weights @ v).transpose(1, 2).flatten(2), weights
