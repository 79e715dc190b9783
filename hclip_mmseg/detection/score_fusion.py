"""What CLIP itself says of a region, and how it is joined with the detector's scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def with_background(text: Tensor, background: Tensor) -> Tensor:
    """What regions are compared with: unit text embeddings [T, C], and behind them the background's of any length.

    Args:
        text: [T, C], unit text embeddings.
        background: [1, C], the region head's learnt embedding.

    Returns:
        [T + 1, C] in fp32, unit vectors.
    """
    return F.normalize(torch.cat([text.float(), background.float()]), dim=-1)


def clip_scores(regions: Tensor, text: Tensor, temperature: float) -> Tensor:
    """CLIP's scores of regions: softmax over names, and background, of ``temperature`` times the cosine.

    Args:
        regions: [N, C], dense tokens pooled over each region; of any length.
        text: [T, C], unit embeddings; see :func:`with_background`.
        temperature: what cosines are multiplied by.

    Returns:
        [N, T], rows sum to 1.
    """
    cosine = F.normalize(regions, dim=-1) @ text.T
    return (temperature * cosine).softmax(dim=-1)


def fuse_scores(detector: Tensor, clip: Tensor, exponents: Tensor) -> Tensor:
    """Geometric means of two scores: detector^(1 - e) clip^e (F-VLM, Eq. 3 and 4).

    Args:
        detector: [N, T] in [0, 1].
        clip: [N, T] in [0, 1].
        exponents: [T] in [0, 1], CLIP's weight for each name: small for names that boxes were shown for, large for
            the others.

    Returns:
        [N, T] in [0, 1]; rows do not sum to 1.
    """
    return detector ** (1 - exponents) * clip**exponents
