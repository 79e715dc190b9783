"""The cost volume: how well each place of an image agrees with each class name."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cost_volume(dense: Tensor, text: Tensor) -> Tensor:
    """Cosine similarity of dense tokens and text embeddings (CAT-Seg, section 3.1).

    Args:
        dense: [B, C, H, W].
        text: [B, T, P, C], T classes in P prompt templates; of any dtype.

    Returns:
        [B, P, T, H, W] in [-1, 1], in the dtype of ``dense``.
    """
    normalised = F.normalize(text, dim=-1).to(dense.dtype)
    return torch.einsum("bchw,btpc->bpthw", F.normalize(dense, dim=1), normalised)


def most_similar_classes(cost: Tensor, count: int) -> Tensor:
    """The classes with the largest cosine anywhere in the image, over all templates.

    Args:
        cost: [B, P, T, H, W].
        count: how many classes to keep, below T.

    Returns:
        [B, count] class indices, in ascending order.
    """
    best = cost.amax(dim=(1, 3, 4))
    return best.topk(count, dim=-1, sorted=False).indices.sort(dim=-1).values
