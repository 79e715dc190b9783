"""FC-CLIP's ensemble of the proposal head's and CLIP's scores."""

from __future__ import annotations

import torch
from torch import Tensor


def geometric_ensemble(inner: Tensor, outer: Tensor, seen: Tensor, alpha: float = 0.4, beta: float = 0.8) -> Tensor:
    """Logarithm of the geometric mean of two classifiers' scores (FC-CLIP, Eq. 8).

    Args:
        inner: class logits of the proposal head, [..., T].
        outer: class logits of CLIP's pooled features, [..., T].
        seen: which names were trained with, bool [T].
        alpha: weight of CLIP's scores for seen names, 0..1.
        beta: the same for the others.

    Returns:
        [..., T], to be normalised by a softmax.
    """
    weight = torch.where(seen.to(inner.device), alpha, beta)
    return (1 - weight) * inner.float().log_softmax(dim=-1) + weight * outer.float().log_softmax(dim=-1)
