"""From patch scores to the label of every pixel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.models.score_maps import best_class, fit_at_once


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
    if scores.is_cuda and fit_at_once(len(scores), size):
        return best_class(scores, size)[0]  # sooner than the number of classes that are left is known here
    around = F.pad(scores[None], (1, 1, 1, 1), mode="replicate")
    highest = F.max_pool2d(around, 2, stride=1)[0]
    lowest = -F.max_pool2d(-around, 2, stride=1)[0]
    possible = (highest >= lowest.amax(dim=0)).flatten(1).any(dim=1).nonzero().flatten()
    return possible[best_class(scores[possible], size)[0]]
