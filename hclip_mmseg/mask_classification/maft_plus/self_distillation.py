"""Keeping a tuned image tower's view of whole images near the frozen one's (MAFT, the method before MAFT+)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfDistillation(nn.Module):
    """Smooth L1 between the class scores that the tuned and the frozen tower give to whole images.

    Jiao et al., *Learning Mask-aware CLIP Representations for Zero-Shot Segmentation*, NeurIPS 2023, and its code: an
    image has one embedding in each tower, and scores are a softmax over the class names. MAFT+ compares maps instead
    (:class:`~hclip_mmseg.mask_classification.maft_plus.representation_compensation.RepresentationCompensation`).

    Args:
        weight: of the loss; 0.1 in the published code.
    """

    def __init__(self, weight: float = 0.1) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, tuned: Tensor, frozen: Tensor) -> Tensor:
        """Class logits of whole images [B, T], of the tuned and of the frozen tower -> the weighted loss, a scalar."""
        with torch.autocast(tuned.device.type, enabled=False):
            return self.weight * F.smooth_l1_loss(tuned.float().softmax(-1), frozen.float().detach().softmax(-1))
