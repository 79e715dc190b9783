"""Tokens of a whole image mixed by how alike they are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from hclip_mmseg.training_free.dense import ImageContext


@MODELS.register_module()
class GlobalAggregation(nn.Module):
    """Self-correlating global aggregation (SCGA; RADSeg, section 3.3): F <- softmax(scale (C - mean C)) F.

    C are the cosines of all pairs of tokens; where one is below their mean, the pair is left out. With scale 0 none is,
    and every token becomes the mean of all.

    Args:
        scale: at least 0.
        tile: rows of C that are held at once, so that memory grows with the tokens and not with their square.
    """

    def __init__(self, scale: float = 10.0, tile: int = 2048) -> None:
        super().__init__()
        if scale < 0 or tile < 1:
            raise ValueError(f"GlobalAggregation: scale {scale} must be at least 0 and tile {tile} at least 1")
        self.scale, self.tile = scale, tile

    def forward(self, maps: Tensor, context: ImageContext | None = None) -> Tensor:
        """Stitched token maps [B, C, rows, columns], each image by itself -> the same, mixed."""
        return torch.stack([self._mixed(own.flatten(1).T).T.unflatten(1, maps.shape[-2:]) for own in maps])

    def _mixed(self, tokens: Tensor) -> Tensor:
        unit = F.normalize(tokens, dim=-1)
        # the mean of all products is the product of the means
        centre = unit.mean(dim=0)
        mean = centre @ centre
        mixed = torch.empty_like(tokens)
        for start in range(0, len(tokens), self.tile):
            scores = self.scale * (unit[start : start + self.tile] @ unit.T - mean)
            mixed[start : start + self.tile] = scores.masked_fill_(scores < 0, -torch.inf).softmax(dim=-1) @ tokens
        return mixed
