"""From a map to one feature for each mask (FC-CLIP, Sec. 3.3, which MAFT+ follows)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mask_pooling(features: Tensor, masks: Tensor) -> Tensor:
    """The mean of features inside each mask.

    Masks are taken as they are: no gradient goes through them.

    Args:
        features: [B, C, H, W].
        masks: mask logits [B, Q, h, w], resized bilinearly to the map; a position is inside where they are above 0.

    Returns:
        [B, Q, C]; 0 for a mask that holds no position of the map.
    """
    masks = masks.detach()
    if masks.shape[-2:] != features.shape[-2:]:
        masks = F.interpolate(masks, features.shape[-2:], mode="bilinear", align_corners=False)
    inside = (masks > 0).to(features.dtype)
    shares = inside / (inside.sum(dim=(-2, -1), keepdim=True) + 1e-8)
    return torch.einsum("bchw,bqhw->bqc", features, shares)
