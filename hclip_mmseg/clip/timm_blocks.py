"""Blocks of timm's transformers under the names of CLIP's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import torch
from timm.layers.attention import Attention
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.eva import EvaAttention, EvaBlock
from timm.models.vision_transformer import Block as ViTBlock
from torch import Tensor, nn

NAMES = {"ln_1": "norm1", "ln_2": "norm2", "attn.out_proj": "attn.proj"}
"""open_clip's name of a part of a block -> timm's; parts of the MLP keep theirs."""


class TimmBlocks(Sequence["TimmBlock"]):
    """The blocks of a transformer of timm, each seen as CLIP's whenever it is asked for.

    Args:
        blocks: timm's.
    """

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        self._blocks = blocks

    def __len__(self) -> int:
        return len(self._blocks)

    @overload
    def __getitem__(self, index: int) -> TimmBlock: ...
    @overload
    def __getitem__(self, index: slice) -> TimmBlocks: ...
    def __getitem__(self, index: int | slice) -> TimmBlock | TimmBlocks:
        found: Any = self._blocks[index]
        return TimmBlocks(found) if isinstance(index, slice) else TimmBlock(found)


class TimmBlock:
    """A block of timm's ViT or EVA under the names of CLIP's (:class:`~hclip_mmseg.adapters.base.Block`).

    Attributes:
        ln_1, ln_2, mlp: the block's ``norm1``, ``norm2`` and ``mlp``.
        attn: heads, width and weights under the names of ``nn.MultiheadAttention``.
    """

    def __init__(self, block: Any) -> None:
        self._block = block
        self.ln_1: Callable[[Tensor], Tensor] = block.norm1
        self.ln_2: Callable[[Tensor], Tensor] = block.norm2
        self.mlp: nn.Module = block.mlp
        self.attn: Any = TimmAttention(block.attn)

    def ls_1(self, x: Tensor) -> Tensor:
        """``x`` times the attention's layer scale, if there is one."""
        return self._scaled(x, 1)

    def ls_2(self, x: Tensor) -> Tensor:
        """``x`` times the MLP's layer scale, if there is one."""
        return self._scaled(x, 2)

    def _scaled(self, x: Tensor, which: int) -> Tensor:
        if isinstance(self._block, EvaBlock):
            scale: Tensor | None = getattr(self._block, f"gamma_{which}")
            return x if scale is None else x * scale
        scaled: Tensor = getattr(self._block, f"ls{which}")(x)
        return scaled


class TimmAttention:
    """The attention of a block of timm under the names of ``nn.MultiheadAttention``.

    Weights and biases are read when they are used, so that they are always the block's own of that moment.

    Attributes:
        num_heads: number of heads.
        embed_dim: width of the tokens.
        inner_norm: the norm before the output projection; None for none.
    """

    def __init__(self, attention: Any) -> None:
        self._attention = attention
        self.num_heads: int = attention.num_heads
        self.embed_dim: int = attention.proj.out_features
        norm = getattr(attention, "norm", None)
        self.inner_norm: nn.Module | None = None if isinstance(norm, nn.Identity) else norm

    @property
    def in_proj_weight(self) -> Tensor:
        """[3 width, width], rows of q, then k, then v."""
        attention = self._attention
        if attention.qkv is None:
            return torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
        weight: Tensor = attention.qkv.weight
        return weight

    @property
    def in_proj_bias(self) -> Tensor | None:
        """[3 width], or None; EVA's k has none, so its part is zero."""
        attention = self._attention
        if attention.qkv is not None and attention.qkv.bias is not None:
            bias: Tensor = attention.qkv.bias
            return bias
        q, v = _q_and_v_bias(attention)
        return None if q is None or v is None else torch.cat((q, torch.zeros_like(q), v))

    @property
    def out_proj(self) -> nn.Linear:
        """The output projection."""
        projection: nn.Linear = self._attention.proj
        return projection


def turned(x: Tensor, angles: Tensor, attention: Any, prefix: int) -> Tensor:
    """Queries or keys of all heads with rotary positions.

    Args:
        x: [batch, prefix + patches, width].
        angles: sines and cosines of the patches' places, as timm's rotary embeddings give them.
        attention: timm's, whose heads they are.
        prefix: number of tokens before the patches, which have no place.
    """
    by_head = x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
    half = getattr(attention, "rotate_half", False)
    patches = apply_rot_embed_cat(by_head[:, :, prefix:], angles.to(x.device), half=half).to(x.dtype)
    return torch.cat([by_head[:, :, :prefix], patches], dim=2).transpose(1, 2).flatten(2)


def own_parameters(block: Any, of_block: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameters by open_clip's names in a block, by the names that they have in a block of timm."""
    attention, found = block.attn, {}
    for name, value in of_block.items():
        kind = name.removeprefix("attn.in_proj_")
        if kind == name:
            part, _, leaf = name.rpartition(".")
            found[f"{NAMES.get(part, part)}.{leaf}"] = value
        elif attention.qkv is None:
            parts = zip(("q_proj", "k_proj", "v_proj"), value.chunk(3), strict=True)
            found |= {f"attn.{part}.{kind}": rows for part, rows in parts if kind == "weight" or part != "k_proj"}
        elif kind == "bias" and attention.qkv.bias is None:
            q, _, v = value.chunk(3)  # what is added to k drops out of the softmax, and EVA has no place for it
            found |= {"attn.q_bias": q, "attn.v_bias": v}
        else:
            found[f"attn.qkv.{kind}"] = value
    return found


def why_not_plain(blocks: Sequence[nn.Module]) -> str | None:
    """What keeps the blocks of a transformer of timm from being read as CLIP's; None: nothing."""
    for block in blocks:
        attention: Any = getattr(block, "attn", None)
        if not isinstance(block, EvaBlock) and type(block) is not ViTBlock:
            return f"blocks of another kind ({type(block).__name__})"
        if not isinstance(attention, Attention | EvaAttention):
            return f"attention of another kind ({type(attention).__name__})"
        # releases of timm differ in what an attention may hold beside its projections
        inside = [getattr(attention, name, None) for name in ("q_norm", "k_norm", "gate")]
        if isinstance(attention, Attention):
            inside.append(getattr(attention, "norm", None))
        if any(not isinstance(module, nn.Identity | None) for module in inside):
            return "norms or a gate inside the attention"
    return None


def _q_and_v_bias(attention: Any) -> tuple[Tensor | None, Tensor | None]:
    if attention.qkv is None:
        return attention.q_proj.bias, attention.v_proj.bias
    return getattr(attention, "q_bias", None), getattr(attention, "v_bias", None)
