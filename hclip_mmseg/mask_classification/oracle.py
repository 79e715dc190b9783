"""The ground truth in the place of a part of the model, which shows what the other part costs (FISA, Fig. 2)."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from hclip_mmseg.mask_classification.mask_overlaps import mask_ious

ORACLES = ("classifier", "generator")
CERTAIN = 20.0
"""Logit of a mask of the ground truth inside it, and minus that outside."""


def masks_of_labels(labels: Tensor, names: int) -> InstanceData:
    """``labels`` [n] and ``masks`` bool [n, H, W] of a label map, one mask a class name.

    Args:
        labels: [H, W]; labels that are no class name's are of no mask.
        names: how many class names there are.
    """
    found = labels.unique()
    found = found[(found >= 0) & (found < names)].long()
    return InstanceData(labels=found, masks=labels == found[:, None, None])


def matched_scores(masks: Tensor, truth: InstanceData, names: int) -> Tensor:
    """What a classifier without errors says of proposals.

    Proposals and ground-truth masks are matched one to one, so that their IoUs have the largest sum, as Hungarian
    matching does in training. A matched proposal is of its partner's class, all others are of nothing. How the paper
    matches was not checked; this is this project's reading.

    Args:
        masks: mask logits of the proposals, [Q, H, W].
        truth: ``labels`` [n] below ``names``, ``masks`` [n, H, W].
        names: how many class names there are.

    Returns:
        [Q, names + 1], void last: 1 for the class, 0 for all else.
    """
    scores = masks.new_zeros(len(masks), names + 1)
    scores[:, -1] = 1
    if not len(truth.labels):
        return scores
    ious = mask_ious(masks, truth.masks).cpu()
    pairs = torch.as_tensor(np.stack(linear_sum_assignment(ious.numpy(), maximize=True)))
    chosen, queries = pairs[:, ious[pairs[0], pairs[1]] > 0].to(masks.device)
    scores[queries] = 0
    scores[queries, truth.labels[chosen].long()] = 1
    return scores


def certain_logits(masks: Tensor) -> Tensor:
    """Mask logits of ground-truth masks [n, H, W], as if a generator had proposed them; one empty mask for none."""
    if not len(masks):
        masks = masks.new_zeros(1, *masks.shape[1:])
    return CERTAIN * (2 * masks.float() - 1)
