"""Aggregation over space: a pair of Swin blocks for every class apart (CAT-Seg, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hclip_mmseg.models.cost_aggregation.windows import WindowLayout, permute_positions, window_layout


class WindowAttention(nn.Module):
    """Attention within windows; q and k also see the image's appearance, v does not.

    The appearance is the same for every class of an image. q = W [x; g] = W_x x + W_g g, so the second
    product is taken once an image and not once a class.

    Args:
        dim: width of the cost embedding.
        guidance_dim: width of the appearance guidance, 0 for none.
        heads: number of heads.
    """

    def __init__(self, dim: int, guidance_dim: int, heads: int) -> None:
        super().__init__()
        self.dim, self.heads = dim, heads
        self.q = nn.Linear(dim + guidance_dim, dim)
        self.k = nn.Linear(dim + guidance_dim, dim)
        self.v = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, guidance: Tensor | None, layout: WindowLayout) -> Tensor:
        """Attends within each region.

        Args:
            x: [B, T, positions, dim], positions in the region order of ``layout``.
            guidance: [B, positions, guidance_dim] in the same order, or None.

        Returns:
            [B, T, positions, dim].
        """
        batch, classes, positions, dim = x.shape
        weight = torch.cat([self.q.weight[:, :dim], self.k.weight[:, :dim], self.v.weight])
        qkv = F.linear(x, weight, torch.cat([self.q.bias, self.k.bias, self.v.bias]))
        if guidance is None:
            q, k, v = qkv.chunk(3, dim=-1)
        else:
            guided = torch.cat([self.q.weight[:, dim:], self.k.weight[:, dim:]])
            plain, v = qkv.split([2 * dim, dim], dim=-1)
            q, k = (plain + F.linear(guidance, guided).unsqueeze(1)).chunk(2, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).flatten(0, 1) for part in (q, k, v))
        return self.proj(_attend_within(q, k, v, layout.lengths).reshape(batch, classes, positions, dim))


def _attend_within(q: Tensor, k: Tensor, v: Tensor, lengths: Sequence[int]) -> Tensor:
    """Attention within regions of the given lengths that lie one after the other; all [N, positions, heads, width]."""
    if len(set(lengths)) == 1:
        q, k, v = (part.unflatten(1, (len(lengths), -1)).flatten(0, 1).transpose(1, 2) for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v)
        return mixed.transpose(1, 2).reshape(-1, sum(lengths), mixed.shape[1], mixed.shape[3])
    regions = zip(*(part.transpose(1, 2).split(lengths, dim=2) for part in (q, k, v)), strict=True)
    return torch.cat([F.scaled_dot_product_attention(*region).transpose(1, 2) for region in regions], dim=1)


class SwinBlock(nn.Module):
    """Pre-norm window attention and MLP, each with its residual.

    Args:
        dim, guidance_dim, heads: see :class:`WindowAttention`.
        mlp_ratio: inner width of the MLP over ``dim``.
    """

    def __init__(self, dim: int, guidance_dim: int, heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = WindowAttention(dim, guidance_dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        hidden = int(dim * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor, guidance: Tensor | None, layout: WindowLayout) -> Tensor:
        """See :meth:`WindowAttention.forward`."""
        x = x + self.attention(self.norm1(x), guidance, layout)
        return x + self.mlp(self.norm2(x))


class SpatialAggregation(nn.Module):
    """Two Swin blocks, the second on windows shifted by half.

    Args:
        dim, guidance_dim, heads, mlp_ratio: see :class:`SwinBlock`.
        window: side of a window in tokens; where the whole grid is no larger, one window without shift.
    """

    def __init__(
        self, dim: int, guidance_dim: int, heads: int, window: int = 12, mlp_ratio: float = 4.0
    ) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList(SwinBlock(dim, guidance_dim, heads, mlp_ratio) for _ in range(2))
        self.guidance_norm = nn.LayerNorm(guidance_dim) if guidance_dim else None

    def layouts(self, height: int, width: int, device: torch.device) -> tuple[WindowLayout, WindowLayout]:
        """Window layouts of the plain and of the shifted block."""
        window = min(self.window, height, width)
        shift = window // 2 if max(height, width) > window else 0
        return (
            window_layout(height, width, window, 0, device),
            window_layout(height, width, window, shift, device),
        )

    def forward(self, x: Tensor, guidance: Tensor | None) -> Tensor:
        """Aggregates over space, every class apart.

        Args:
            x: [B, T, H, W, dim].
            guidance: appearance guidance [B, H, W, guidance_dim], or None.

        Returns:
            [B, T, H, W, dim].
        """
        batch, classes, height, width, dim = x.shape
        plain, shifted = self.layouts(height, width, x.device)
        if guidance is not None and self.guidance_norm is not None:
            guidance = self.guidance_norm(guidance).flatten(1, 2)
        x = x.reshape(batch * classes, height * width, dim)
        here = torch.arange(height * width, device=x.device)
        order, inverse = here, here
        for block, layout in zip(self.blocks, (plain, shifted), strict=True):
            # From the order that x is in straight to the next block's: one copy, not two.
            x = permute_positions(x, inverse[layout.order], layout.inverse[order])
            order, inverse = layout.order, layout.inverse
            guided = None if guidance is None else permute_positions(guidance, order, inverse)
            x = block(x.view(batch, classes, -1, dim), guided, layout).flatten(0, 1)
        return permute_positions(x, inverse, order).view(batch, classes, height, width, dim)
