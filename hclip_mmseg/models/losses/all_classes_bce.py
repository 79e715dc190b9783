"""The loss of CAT-Seg and H-CLIP."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


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

    def forward(self, logits: Tensor, labels: Tensor, weight: Tensor | None = None, ignore_index: int = 255) -> Tensor:
        """Mean of softplus(logit) - logit * target, without making the one-hot target.

        Args:
            logits: [B, T, H, W].
            labels: [B, H, W] class indices or ``ignore_index``.
            weight: [B, H, W] factor on each pixel, or None.

        Returns:
            A scalar.
        """
        valid = labels != ignore_index
        counted = valid.to(logits.dtype) if weight is None else valid * weight
        total: Tensor = _SummedBCE.apply(logits, labels.where(valid, 0), counted, weight)
        return self.loss_weight * total / logits.numel()


class _SummedBCE(torch.autograd.Function):
    """Sum over classes and pixels of w softplus(logit), less the sum over pixels of c logit of the pixel's label.

    Its gradient w sigmoid(logit) - c is made in one tensor of the logits' size, where autograd would make three.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, counted: Tensor, weight: Tensor | None) -> Tensor:
        ctx.save_for_backward(logits, labels, counted, weight)
        per_class = F.softplus(logits)
        if weight is not None:
            per_class.mul_(weight.unsqueeze(1))
        return per_class.sum() - (logits.gather(1, labels.unsqueeze(1)).squeeze(1) * counted).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        logits, labels, counted, weight = ctx.saved_tensors
        gradient = torch.sigmoid(logits).mul_(grad if weight is None else (grad * weight).unsqueeze(1))
        gradient.scatter_add_(1, labels.unsqueeze(1), (-grad * counted).unsqueeze(1).to(gradient.dtype))
        return gradient, None, None, None
