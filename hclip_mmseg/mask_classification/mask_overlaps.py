"""How far proposals overlap with the masks of a ground truth."""

from __future__ import annotations

import torch
from torch import Tensor

from hclip_mmseg.models.score_maps import resized


@torch.no_grad()
def mask_ious(masks: Tensor, targets: Tensor, chunk: int = 16) -> Tensor:
    """Intersection over union of proposals with ground-truth masks, at the latter's size.

    Args:
        masks: mask logits [Q, h, w]; a proposal is where they are above 0, resized bilinearly.
        targets: [n, H, W] in {0, 1}.
        chunk: how many proposals are resized at once.

    Returns:
        [n, Q], 0 where both are empty.
    """
    truth = targets.flatten(1).float()
    size = (targets.shape[-2], targets.shape[-1])
    ious = []
    for part in masks.float().split(chunk):
        inside = (resized(part, size) > 0).flatten(1).float()
        common = truth @ inside.T
        union = truth.sum(1, keepdim=True) + inside.sum(1) - common
        ious.append(common / union.clamp(min=1))
    return torch.cat(ious, dim=1)
