"""CLIP's image tower where it is an EVA of timm, as in open_clip's EVA01-g-14-plus and EVA02-B-16."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import RotaryEmbeddingCat, apply_rot_embed_cat
from timm.models.eva import Eva
from torch import Tensor, nn

from hclip_mmseg.clip.attention import Turn
from hclip_mmseg.clip.timm_tower import TimmTower, why_not_read


class EvaTower(TimmTower):
    """An EVA read as :class:`~hclip_mmseg.clip.image_tower.ImageTower` reads a vision transformer of open_clip.

    EVA-02 (Fang et al., "EVA-02: A Visual Representation for Neon Genesis", 2023) adds rotary positions to the learned
    ones, and a norm before the attention's output projection.

    Args:
        visual: open_clip's wrapper of a timm EVA with pre-norm blocks, EVA01 or EVA02.
        interpolation: how positional embeddings are resized, 'bicubic' or 'bilinear'.

    Raises:
        ValueError: if it is another trunk, or an EVA of another kind: what differs.
    """

    @classmethod
    def why_not(cls, trunk: nn.Module) -> list[str]:
        """What keeps a trunk from being read by this class; nothing where it can be."""
        if not isinstance(trunk, Eva):
            return ["layers of its own: no EVA"]
        differs = why_not_read(trunk)
        if trunk.rope is not None and type(trunk.rope) is not RotaryEmbeddingCat:
            differs.append(f"another kind of rotary positions ({type(trunk.rope).__name__})")
        return differs

    def rotation(self, grid: tuple[int, int]) -> Turn | None:
        """EVA-02's rotary positions of a grid of patches, which leave the CLS token alone; None in EVA01."""
        trunk: Any = self.trunk
        if trunk.rope is None:
            return None
        angles: Tensor = trunk.rope.get_embed(shape=list(grid))
        heads, half = trunk.blocks[0].attn.num_heads, getattr(trunk.blocks[0].attn, "rotate_half", False)

        def turn(x: Tensor) -> Tensor:
            by_head = x.unflatten(-1, (heads, -1)).transpose(1, 2)
            before, patches = by_head[:, :, : self.prefix], by_head[:, :, self.prefix :]
            turned = apply_rot_embed_cat(patches, angles.to(x.device), half=half).to(x.dtype)
            return torch.cat([before, turned], dim=2).transpose(1, 2).flatten(2)

        return turn
