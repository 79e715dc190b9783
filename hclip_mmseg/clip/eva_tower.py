"""CLIP's image tower where it is an EVA of timm, as in open_clip's EVA01-g-14-plus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from open_clip.timm_model import TimmModel
from timm.models.eva import Eva, EvaAttention, EvaBlock
from torch import Tensor, nn

from hclip_mmseg.adapters import Adapter
from hclip_mmseg.adapters.base import Tower
from hclip_mmseg.clip.positions import resized_positions


class EvaTower(nn.Module):
    """An EVA read as :class:`~hclip_mmseg.clip.image_tower.ImageTower` reads a vision transformer of open_clip.

    Takes over the modules of ``visual``; parameter names stay open_clip's (``trunk.blocks.0.attn.qkv.weight``
    ...), so a state dict moves in either direction.

    Args:
        visual: open_clip's wrapper of a timm EVA with learned positions, fused q, k and v and pre-norm blocks,
            read at its CLS token, as EVA01 is.
        interpolation: how positional embeddings are resized, 'bicubic' or 'bilinear'.

    Raises:
        ValueError: if it is another trunk, or an EVA of another kind (EVA02 has rotary positions): what differs.
    """

    name: ClassVar[Tower] = "image"

    def __init__(self, visual: TimmModel, interpolation: str = "bicubic") -> None:
        super().__init__()
        _check(visual.trunk)
        self.trunk: Any = visual.trunk
        self.head: nn.Sequential = visual.head
        self.interpolation = interpolation
        self.grid_size: tuple[int, int] = tuple(self.trunk.patch_embed.grid_size)
        self._embed_dim = _width_after(self.trunk, self.head)
        self._blocks = [EvaBlockView(block) for block in self.trunk.blocks]

    @property
    def blocks(self) -> Sequence[EvaBlockView]:
        """The transformer's blocks, seen as CLIP's."""
        return self._blocks

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self.trunk.blocks)

    @property
    def width(self) -> int:
        """Width of the tokens between the blocks."""
        return int(self.trunk.embed_dim)

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return int(self.trunk.patch_embed.patch_size[0])

    @property
    def embed_dim(self) -> int:
        """Width of the embeddings shared with the text tower."""
        return self._embed_dim

    def embed(self, images: Tensor, adapter: Adapter | None = None) -> Tensor:
        """Normalised images [B, 3, H, W] -> tokens before the first block [B, 1 + patches, width], CLS first.

        Raises:
            ValueError: if a side is no positive multiple of the patch size.
        """
        height, width = images.shape[-2:]
        patch = self.patch_size
        if height < patch or width < patch or height % patch or width % patch:
            raise ValueError(
                f"the image tower takes images whose sides are multiples of its patch of {patch} pixels, "
                f"got {height} x {width}; resize the image first"
            )
        project = self.trunk.patch_embed.proj
        patches = project(images.to(project.weight.dtype)).flatten(2).transpose(1, 2)
        cls = self.trunk.cls_token.to(patches.dtype).expand(patches.shape[0], -1, -1)
        grid = (height // patch, width // patch)
        positions = resized_positions(self.trunk.pos_embed[0], self.grid_size, grid, self.interpolation)
        tokens: Tensor = self.trunk.norm_pre(torch.cat([cls, patches], dim=1) + positions.to(patches.dtype))
        return tokens if adapter is None else adapter.normed("image", None, "ln_pre", tokens)

    def project(self, tokens: Tensor, adapter: Adapter | None = None) -> Tensor:
        """The norms and the projection behind the last block, on every token: [..., width] -> [..., embed_dim]."""
        normed: Tensor = self.trunk.fc_norm(self.trunk.norm(tokens))
        if adapter is not None:
            normed = adapter.normed("image", None, "ln_last", normed)
        embeddings: Tensor = self.head(self.trunk.head(normed))
        return embeddings


class EvaBlockView:
    """A block of timm's EVA under the names of CLIP's (:class:`~hclip_mmseg.adapters.base.Block`).

    Attributes:
        ln_1, ln_2, mlp: the block's ``norm1``, ``norm2`` and ``mlp``.
        attn: heads, width and weights under the names of ``nn.MultiheadAttention``.
    """

    def __init__(self, block: EvaBlock) -> None:
        self.ln_1: Callable[[Tensor], Tensor] = block.norm1
        self.ln_2: Callable[[Tensor], Tensor] = block.norm2
        self.mlp: nn.Module = block.mlp
        self.attn: Any = EvaAttentionView(block.attn)
        self._scales = (block.gamma_1, block.gamma_2)

    def ls_1(self, x: Tensor) -> Tensor:
        """``x`` times the attention's layer scale, if there is one."""
        return x if self._scales[0] is None else x * self._scales[0]

    def ls_2(self, x: Tensor) -> Tensor:
        """``x`` times the MLP's layer scale, if there is one."""
        return x if self._scales[1] is None else x * self._scales[1]


class EvaAttentionView:
    """The attention of a block of timm's EVA under the names of ``nn.MultiheadAttention``.

    Weights and biases are read when they are used, so that they are always the block's own of that moment.

    Attributes:
        num_heads: number of heads.
        embed_dim: width of the tokens.
    """

    def __init__(self, attention: Any) -> None:
        self._attention = attention
        self.num_heads: int = attention.num_heads
        self.embed_dim: int = attention.qkv.in_features

    @property
    def in_proj_weight(self) -> Tensor:
        """[3 width, width], rows of q, then k, then v."""
        weight: Tensor = self._attention.qkv.weight
        return weight

    @property
    def in_proj_bias(self) -> Tensor | None:
        """[3 width], or None."""
        attention = self._attention
        if attention.q_bias is None:
            return None
        return torch.cat((attention.q_bias, attention.k_bias, attention.v_bias))

    @property
    def out_proj(self) -> nn.Linear:
        """The output projection."""
        projection: nn.Linear = self._attention.proj
        return projection


def _check(trunk: nn.Module) -> None:
    if not isinstance(trunk, Eva):
        raise ValueError(f"the image tower is a {type(trunk).__name__} of timm; mask tokens need a ViT or an EVA")
    differs = []
    if trunk.rope is not None:
        differs.append("rotary positions")
    if trunk.pos_embed is None or trunk.no_embed_class or trunk.num_prefix_tokens != 1:
        differs.append("no learned position for one CLS token")
    if trunk.global_pool != "token":
        differs.append(f"pooling by {trunk.global_pool!r}")
    for block in trunk.blocks:
        attention = getattr(block, "attn", None)
        if not isinstance(block, EvaBlock) or not isinstance(attention, EvaAttention) or attention.qkv is None:
            differs.append("blocks without fused q, k, v under a norm before them")
            break
        # releases of timm differ in what an attention may hold beside its projections
        inside = [getattr(attention, name, None) for name in ("norm", "q_norm", "k_norm", "gate")]
        if any(not isinstance(module, nn.Identity | None) for module in inside):
            differs.append("norms or a gate inside the attention")
            break
    if differs:
        raise ValueError(f"this EVA has {' and '.join(differs)}; EVA01's form, such as EVA01-g-14-plus, is supported")


def _width_after(trunk: Eva, head: nn.Sequential) -> int:
    linear = [module for module in [trunk.head, *head] if isinstance(module, nn.Linear)]
    return int(linear[-1].out_features) if linear else int(trunk.embed_dim)
