"""CLIP's image tower where it is an EVA of timm, as in open_clip's EVA01-g-14-plus and EVA02-B-16."""

from __future__ import annotations

import copy
from typing import Any

from timm.layers.pos_embed_sincos import RotaryEmbeddingCat
from timm.models.eva import Eva
from torch import Tensor, nn

from hclip_mmseg.clip.attention import Turn
from hclip_mmseg.clip.timm_blocks import turned
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
        angles = trunk.rope.get_embed() if grid == self.grid_size else self._angles(grid)
        return lambda x: turned(x, angles, trunk.blocks[0].attn, self.prefix)

    def _angles(self, grid: tuple[int, int]) -> Tensor:
        """Sines and cosines of the places of another grid [patches, 2 * width of a head], as timm makes them for it."""
        rope = copy.deepcopy(self.trunk.rope)
        rope.update_feat_shape(list(grid))
        angles: Tensor = rope.get_embed()
        return angles
