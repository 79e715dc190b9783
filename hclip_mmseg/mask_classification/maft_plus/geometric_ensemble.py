"""FC-CLIP's ensemble of the proposal head's and CLIP's scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def shares_a_name(titles: Sequence[str], trained: Sequence[str]) -> Tensor:
    """Which classes share a name with a training class, letter by letter: FC-CLIP's code counts these as seen.

    Args:
        titles: of the classes; synonyms behind commas.
        trained: titles of the classes that were trained with.

    Returns:
        bool [len(titles)].
    """
    known = {name.strip() for title in trained for name in title.split(",")}
    return torch.tensor([not known.isdisjoint(name.strip() for name in title.split(",")) for title in titles])


def geometric_ensemble(inner: Tensor, outer: Tensor, seen: Tensor, alpha: float = 0.4, beta: float = 0.8) -> Tensor:
    """Logarithm of the geometric mean of two classifiers' scores (FC-CLIP, Eq. 8).

    Args:
        inner: class logits of the proposal head, [..., T].
        outer: class logits of CLIP's pooled features, [..., T].
        seen: which names were trained with, bool [T]; see :func:`shares_a_name`.
        alpha: weight of CLIP's scores for seen names, 0..1.
        beta: the same for the others.

    Returns:
        [..., T], to be normalised by a softmax.
    """
    weight = torch.where(seen.to(inner.device), alpha, beta)
    return (1 - weight) * inner.float().log_softmax(dim=-1) + weight * outer.float().log_softmax(dim=-1)
