"""Attention of a CLIP block, with its four projections replaceable.

A block of open_clip keeps q, k and v in one ``in_proj_weight`` of [3 width, width] and ``out`` in
``out_proj``. What computes them is a :class:`Projections`, so that frozen, adapted and folded weights run
through the same block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hclip_mmseg.adapters import Adapter
from hclip_mmseg.adapters.base import Block, Norm, Tower
from hclip_mmseg.adapters.precision import as_products_take

Turn = Callable[[Tensor], Tensor]
"""Rotary positions: queries or keys of all heads [batch, length, width] -> the same, turned by places."""


class Projections(Protocol):
    """The four projections of one attention, and what an adapter does beside them in its block."""

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[..., width] -> q, k and v, each [..., width]."""

    def query(self, x: Tensor) -> Tensor:
        """[..., width] -> q alone."""

    def key_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[..., width] -> k and v, each [..., width]."""

    def value(self, x: Tensor) -> Tensor:
        """[..., width] -> v alone."""

    def out(self, x: Tensor) -> Tensor:
        """[..., width] -> the attention's output projection."""

    def normed(self, norm: Norm, x: Tensor) -> Tensor:
        """What stands for the output ``x`` of one of the block's norms (see ``Adapter.normed``)."""

    def mlp(self, mlp: nn.Module, x: Tensor) -> Tensor:
        """Output of the block's MLP (see ``Adapter.mlp``)."""

    def prompts(self) -> Tensor | None:
        """Tokens [n, width] to attend to beside the block's own (see ``Adapter.prompts``)."""


class PlainProjections:
    """Projections by fixed weights: CLIP's own, or CLIP's with the adapters folded in.

    Args:
        in_weight: [3 width, width], rows of q, then k, then v.
        in_bias: [3 width] or None.
        out_weight: [width, width].
        out_bias: [width] or None.
        inner_norm: EVA-02's norm before the output projection; None for none.
    """

    def __init__(
        self,
        in_weight: Tensor,
        in_bias: Tensor | None,
        out_weight: Tensor,
        out_bias: Tensor | None,
        inner_norm: nn.Module | None = None,
    ) -> None:
        self.in_weight, self.in_bias = in_weight, in_bias
        self.out_weight, self.out_bias = out_weight, out_bias
        self.inner_norm = inner_norm

    @classmethod
    def of(cls, attention: Any) -> PlainProjections:
        """The weights that ``attention`` holds, an ``nn.MultiheadAttention`` or what has its weights by its names."""
        return cls(
            attention.in_proj_weight,
            attention.in_proj_bias,
            attention.out_proj.weight,
            attention.out_proj.bias,
            inner_norm_of(attention),
        )

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`Projections`."""
        q, k, v = F.linear(x, self.in_weight, self.in_bias).chunk(3, dim=-1)
        return q, k, v

    def query(self, x: Tensor) -> Tensor:
        """See :class:`Projections`."""
        width = self.in_weight.shape[1]
        return F.linear(x, self.in_weight[:width], None if self.in_bias is None else self.in_bias[:width])

    def key_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Projections`."""
        width = self.in_weight.shape[1]
        bias = None if self.in_bias is None else self.in_bias[width:]
        k, v = F.linear(x, self.in_weight[width:], bias).chunk(2, dim=-1)
        return k, v

    def value(self, x: Tensor) -> Tensor:
        """See :class:`Projections`."""
        start = 2 * self.in_weight.shape[1]
        bias = None if self.in_bias is None else self.in_bias[start:]
        return F.linear(x, self.in_weight[start:], bias)

    def out(self, x: Tensor) -> Tensor:
        """See :class:`Projections`."""
        return F.linear(x if self.inner_norm is None else self.inner_norm(x), self.out_weight, self.out_bias)

    def normed(self, norm: Norm, x: Tensor) -> Tensor:
        """``x``; see :class:`Projections`."""
        return x

    def mlp(self, mlp: nn.Module, x: Tensor) -> Tensor:
        """``mlp(x)``; see :class:`Projections`."""
        output: Tensor = mlp(x)
        return output

    def prompts(self) -> Tensor | None:
        """None; see :class:`Projections`."""
        return None


class AdaptedProjections:
    """Projections whose frozen weights an adapter changes at this very step.

    Args:
        attention: holds the frozen weights.
        adapter: computes each projection (see ``Adapter.linear``).
        tower: 'image' or 'text'.
        layer: index of the block in its tower.
    """

    def __init__(self, attention: Any, adapter: Adapter, tower: Tower, layer: int) -> None:
        self.attention, self.adapter, self.tower, self.layer = attention, adapter, tower, layer
        self.inner_norm = inner_norm_of(attention)

    def _cast_once(self, x: Tensor) -> Tensor:
        return as_products_take(x) if self.adapter.takes_rounded else x

    def _input_projection(self, index: int, x: Tensor) -> Tensor:
        width = self.attention.embed_dim
        rows = slice(index * width, (index + 1) * width)
        bias = self.attention.in_proj_bias
        return self.adapter.linear(
            self.tower,
            self.layer,
            ("q", "k", "v")[index],
            x,
            self.attention.in_proj_weight[rows],
            None if bias is None else bias[rows],
        )

    def qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`Projections`."""
        x = self._cast_once(x)
        return self._input_projection(0, x), self._input_projection(1, x), self._input_projection(2, x)

    def query(self, x: Tensor) -> Tensor:
        """See :class:`Projections`."""
        return self._input_projection(0, x)

    def key_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Projections`."""
        x = self._cast_once(x)
        return self._input_projection(1, x), self._input_projection(2, x)

    def value(self, x: Tensor) -> Tensor:
        """See :class:`Projections`."""
        return self._input_projection(2, x)

    def out(self, x: Tensor) -> Tensor:
        """See :class:`Projections`."""
        projection = self.attention.out_proj
        x = x if self.inner_norm is None else self.inner_norm(x)
        return self.adapter.linear(self.tower, self.layer, "out", x, projection.weight, projection.bias)

    def normed(self, norm: Norm, x: Tensor) -> Tensor:
        """See :class:`Projections`."""
        return self.adapter.normed(self.tower, self.layer, norm, x)

    def mlp(self, mlp: nn.Module, x: Tensor) -> Tensor:
        """See :class:`Projections`."""
        return self.adapter.mlp(self.tower, self.layer, mlp, x)

    def prompts(self) -> Tensor | None:
        """See :class:`Projections`."""
        return self.adapter.prompts(self.tower, self.layer)


def inner_norm_of(attention: Any) -> nn.Module | None:
    """The norm between an attention and its output projection, which EVA-02 has and CLIP has not."""
    norm: nn.Module | None = getattr(attention, "inner_norm", None)
    return norm


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    causal: bool = False,
    bias: Tensor | None = None,
    seen: Tensor | None = None,
) -> Tensor:
    """Multi-head scaled-dot-product attention.

    Args:
        q: [batch, length, width].
        k, v: [batch, keys, width]; where causal, keys = n + length, and the first n stand before all positions.
        heads: number of heads; divides the width.
        causal: whether a position sees only itself and those before it.
        bias: [batch, length, keys] added to the scores of every head, or None; not with ``causal``.
        seen: [batch, length, keys], whether a position sees a key, or None for all; not with ``causal`` or ``bias``.

    Returns:
        [batch, length, width].
    """
    batch, length, width = q.shape

    def split(x: Tensor) -> Tensor:
        return x.view(batch, -1, heads, width // heads).transpose(1, 2)

    mask = None if bias is None else bias[:, None].to(q.dtype)
    if seen is not None:
        mask = seen[:, None]
    if causal and k.shape[1] > length:
        mask = torch.ones(length, k.shape[1], dtype=torch.bool, device=q.device).tril(k.shape[1] - length)
    mixed = F.scaled_dot_product_attention(
        split(q), split(k), split(v), attn_mask=mask, is_causal=causal and mask is None
    )
    return mixed.transpose(1, 2).reshape(batch, length, width)


def run_block(block: Block, x: Tensor, projections: Projections, turn: Turn | None = None) -> Tensor:
    """One residual attention block of an image tower: x + attention(ln_1(x)), then + mlp(ln_2(.)).

    Args:
        block: an ``open_clip`` ResidualAttentionBlock.
        x: [batch, length, width].
        projections: what computes q, k, v and out.
        turn: rotary positions of queries and keys; None for none.

    Returns:
        [batch, length, width].
    """
    q, k, v = projections.qkv(projections.normed("ln_1", block.ln_1(x)))
    if turn is not None:
        q, k = turn(q), turn(k)
    prompts = projections.prompts()
    if prompts is not None:
        of_prompts = projections.key_value(projections.normed("ln_1", block.ln_1(prompts)))
        k, v = (
            torch.cat([shared.expand(x.shape[0], -1, -1), own], dim=1)
            for shared, own in zip(of_prompts, (k, v), strict=True)
        )
    return finish_block(block, x, attend(q, k, v, block.attn.num_heads), projections)


def finish_block(block: Block, x: Tensor, mixed: Tensor, projections: Projections) -> Tensor:
    """What a block does behind its attention: y = x + out(mixed), then y + mlp(ln_2(y)).

    Args:
        block: an ``open_clip`` ResidualAttentionBlock.
        x: what went into the block, [..., width].
        mixed: what its attention made of the values, [..., width].
        projections: what computes out.

    Returns:
        [..., width].
    """
    x = x + block.ls_1(projections.out(mixed))
    return x + block.ls_2(projections.mlp(block.mlp, projections.normed("ln_2", block.ln_2(x))))


def run_dense_block(block: Block, x: Tensor, projections: Projections, residual: str = "cls") -> Tensor:
    """The last block without its attention (docs/hclip.md, CLIP for dense prediction): q and k are never computed.

    tokens = out(v(ln_1(x))) + residual, then + mlp(ln_2(tokens)); 'value' stops at out(v(ln_1(x))).

    Args:
        block: an ``open_clip`` ResidualAttentionBlock.
        x: [batch, 1 + patches, width], the CLS token first.
        projections: what computes v and out.
        residual: what is added: 'cls', the CLS token's input to every token (CAT-Seg's and H-CLIP's
            published code); 'own', each token's own input; 'none', nothing; 'value', nothing, and no MLP
            either, the form that frozen CLIP segments best with. A tower's ``forward`` takes 'block' besides: the block
            with its attention, as it is.

    Returns:
        [batch, 1 + patches, width].

    Raises:
        ValueError: on another ``residual``.
    """
    tokens = block.ls_1(projections.out(projections.value(projections.normed("ln_1", block.ln_1(x)))))
    if residual == "cls":
        tokens = tokens + x[:, :1]
    elif residual == "own":
        tokens = tokens + x
    elif residual == "value":
        return tokens
    elif residual != "none":
        raise ValueError(f"residual must be 'cls', 'own', 'none', 'value' or 'block', not {residual!r}")
    return tokens + block.ls_2(projections.mlp(block.mlp, projections.normed("ln_2", block.ln_2(tokens))))
