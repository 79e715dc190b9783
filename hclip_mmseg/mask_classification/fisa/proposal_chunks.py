"""Work on the maps of many proposals, a few at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def over_proposals(function: Callable[[Tensor], Tensor], maps: Tensor, chunk: int) -> Tensor:
    """``function`` of every proposal's map, with the memory that ``chunk`` of them take at once.

    With gradients each part is computed again in the backward pass, so that nothing inside is kept.

    Args:
        function: [n, 1, h, w] -> [n, 1, h', w'], each map by itself.
        maps: [B, Q, h, w].
        chunk: how many maps are worked on at once.

    Returns:
        [B, Q, h', w'].
    """
    parts = []
    for part in maps.flatten(0, 1).unsqueeze(1).split(chunk):
        if torch.is_grad_enabled():
            parts.append(checkpoint(function, part, use_reentrant=False))
        else:
            parts.append(function(part))
    return torch.cat(parts).unflatten(0, maps.shape[:2]).squeeze(2)
