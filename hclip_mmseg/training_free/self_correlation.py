"""How alike the tokens of one block are: CLIPtrase's semantic correlation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

HEADS = ("separate", "concatenated")


def correlation_features(
    q: Tensor, k: Tensor, v: Tensor, heads: int, similarity: str = "cosine", across: str = "separate"
) -> Tensor:
    """Vectors f with f f^T = the self-correlation of the tokens.

    The published form is a mean over heads and over q, k and v of cosines (CLIPtrase, section 3.2). Cosines are
    products of unit vectors, and a sum of products is the product of what stands side by side, so one matrix of
    normalised vectors holds it all, and no [heads, tokens, tokens] is ever made.

    Args:
        q, k, v: [batch, tokens, width] of one block.
        heads: number of heads; divides the width.
        similarity: 'cosine', or 'inner' for the products themselves, over an image's mean product of a token with
            itself, so that distances between rows are of the order that they have with cosines.
        across: 'separate', a cosine for every head, their mean; 'concatenated', one cosine over all heads (the
            cheaper form of the paper's supplement, Eqs. 4-6). The same for 'inner'.

    Returns:
        [batch, tokens, 3 width].

    Raises:
        ValueError: on another similarity or form.
    """
    if similarity not in ("cosine", "inner"):
        raise ValueError(f"similarity must be 'cosine' or 'inner', not {similarity!r}")
    if across not in HEADS:
        raise ValueError(f"heads are correlated 'separate' or 'concatenated', not {across!r}")
    if similarity == "inner":
        stacked = torch.cat([q, k, v], dim=-1).float()
        return stacked / stacked.square().sum(dim=-1, keepdim=True).mean(dim=1, keepdim=True).sqrt()
    parts = heads if across == "separate" else 1
    stacked = torch.stack([x.float().unflatten(-1, (parts, -1)) for x in (q, k, v)], dim=2)
    return F.normalize(stacked, dim=-1).flatten(2) * (3 * parts) ** -0.5


def self_correlation(features: Tensor) -> Tensor:
    """[..., tokens, width] of :func:`correlation_features` -> [..., tokens, tokens]."""
    return features @ features.mT
