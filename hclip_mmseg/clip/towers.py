"""Which class reads an image tower of open_clip."""

from __future__ import annotations

from typing import Any

from open_clip.timm_model import TimmModel
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from timm.models.eva import Eva
from torch import nn

from hclip_mmseg.clip.eva_tower import EvaTower
from hclip_mmseg.clip.image_tower import ImageTower
from hclip_mmseg.clip.timm_tower import TimmTower
from hclip_mmseg.clip.vision_tower import VisionTower


def image_tower_of(visual: nn.Module, interpolation: str = "bicubic") -> VisionTower:
    """An image tower of open_clip as a tower for dense prediction.

    Args:
        visual: open_clip's, of a model that :func:`why_not_image` has nothing against.
        interpolation: how positional embeddings are resized, 'bicubic' or 'bilinear'.

    Raises:
        ValueError: if it is of another kind: what differs.
    """
    differs = why_not_image(visual)
    if differs:
        raise ValueError(f"the image tower has {differs}")
    if isinstance(visual, TimmModel):
        return (EvaTower if isinstance(visual.trunk, Eva) else TimmTower)(visual, interpolation)
    return ImageTower(visual, interpolation)


def why_not_image(visual: Any) -> str | None:
    """What keeps an image tower from giving dense tokens here; None: nothing."""
    if isinstance(visual, TimmModel):
        kind = EvaTower if isinstance(visual.trunk, Eva) else TimmTower
        return " and ".join(kind.why_not(visual.trunk)) or None
    if not isinstance(visual, VisionTransformer):
        return f"layers of its own ({type(visual).__name__}), no vision transformer"
    if visual.attn_pool is not None:
        return "an attention pooling of CoCa's"
    if visual.pool_type not in ("tok", "avg"):
        return f"pooling by {visual.pool_type!r}"
    if any(type(block) is not ResidualAttentionBlock for block in visual.transformer.resblocks):
        return "blocks of another kind than CLIP's"
    return None
