"""From patch scores to the label of every pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.training_free.bilinear import resize_weights, resized_by

AT_ONCE = 1 << 21
"""Numbers of resized scores that are compared together: what then stays in a processor's cache."""


def pixel_labels(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """The class of every pixel: the largest of the bilinearly resized scores, corners not aligned.

    Between four patches a resized score is a mean of the four. A class whose best of the four is below the worst of
    another's cannot be the largest there; classes that can be nowhere are left out before anything is resized, so
    that large vocabularies cost little more than small ones.

    Args:
        scores: [classes, rows, columns].
        size: height and width of the result.

    Returns:
        int64 [height, width].
    """
    around = F.pad(scores[None], (1, 1, 1, 1), mode="replicate")
    highest = F.max_pool2d(around, 2, stride=1)[0]
    lowest = -F.max_pool2d(-around, 2, stride=1)[0]
    possible = (highest >= lowest.amax(dim=0)).flatten(1).any(dim=1).nonzero().flatten()
    down, right = (resize_weights(scores.shape[1 + axis], size[axis]) for axis in (0, 1))
    best = torch.full(size, -torch.inf, device=scores.device)
    label = torch.zeros(size, dtype=torch.long, device=scores.device)
    for some in possible.split(max(AT_ONCE // (size[0] * size[1]), 1)):
        value, index = resized_by(down, scores[some], right).max(dim=0)
        label = some[index].where(value > best, label)
        best = torch.maximum(value, best)
    return label
