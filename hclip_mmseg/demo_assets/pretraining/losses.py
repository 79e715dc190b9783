"""The contrastive loss of captions that are true of several images, and how often names are told apart."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.demo_assets.scenes import BACKGROUNDS, SCENE_CLASSES


def contrastive_loss(logits: Tensor, positive: Tensor) -> Tensor:
    """InfoNCE with any number of positives, each against the negatives alone, over both directions.

    Args:
        logits: ``[B, N]``, scaled similarities of images and texts.
        positive: ``bool [B, N]``, which text is true of which image.
    """

    def one_way(logits: Tensor, positive: Tensor) -> Tensor:
        negatives = logits.masked_fill(positive, -1e4).logsumexp(1, keepdim=True)
        losses = F.softplus(negatives - logits) * positive
        rows = positive.sum(1)
        return (losses.sum(1) / rows.clamp(min=1))[rows > 0].mean()

    return (one_way(logits, positive) + one_way(logits.t(), positive.t())) / 2


def true_captions(present: Tensor) -> Tensor:
    """Which text is true of which image, ``[B, names] -> bool [B, B + names]``: all captions, then all names.

    A caption is true of every image that shows all that it mentions.
    """
    mentioned = torch.cat([present, torch.eye(present.shape[1])])
    return (present @ mentioned.t()) == mentioned.sum(1)


def name_accuracy(scores: Tensor, present: Tensor) -> float:
    """How often (0..1) the object name of the highest score ``[B, names]`` is one that the image shows."""
    things = torch.tensor([name not in BACKGROUNDS for name in SCENE_CLASSES])
    nearest = scores.masked_fill(~things, -math.inf).argmax(1)
    return present[torch.arange(len(present)), nearest].mean().item()
