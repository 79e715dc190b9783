"""The loss of CAT-Seg and H-CLIP."""

from __future__ import annotations

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class AllClassesBCELoss(nn.Module):
    """Binary cross-entropy over every class of every pixel, the mean over all of them (docs/cat_seg.md, Loss).

    Ignored pixels stand with an all-zero target; they are not left out of the mean.

    Args:
        loss_weight: factor on the loss.
        loss_name: its name in the log.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = "loss_bce") -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self, logits: Tensor, labels: Tensor, weight: Tensor | None = None, ignore_index: int = 255
    ) -> Tensor:
        """Mean of softplus(logit) - logit * target, without making the one-hot target.

        Args:
            logits: [B, T, H, W].
            labels: [B, H, W] class indices or ``ignore_index``.
            weight: [B, H, W] factor on each pixel, or None.

        Returns:
            A scalar.
        """
        per_class = F.softplus(logits)
        if weight is not None:
            per_class = per_class * weight.unsqueeze(1)
        valid = labels != ignore_index
        positive = logits.gather(1, labels.where(valid, 0).unsqueeze(1)).squeeze(1)
        positive = positive * (valid if weight is None else valid * weight)
        return self.loss_weight * (per_class.sum() - positive.sum()) / logits.numel()
