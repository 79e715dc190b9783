"""Tokens of a whole image mixed by how alike they are."""

from __future__ import annotations

from typing import ClassVar

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

    part: ClassVar[str] = "aggregation"

    def __init__(self, scale: float = 10.0, tile: int = 2048) -> None:
        super().__init__()
        if scale < 0 or tile < 1:
            raise ValueError(f"GlobalAggregation: scale {scale} must be at least 0 and tile {tile} at least 1")
        self.scale, self.tile = scale, tile

    def forward(self, maps: Tensor, context: ImageContext | None = None) -> Tensor:
        """Stitched token maps [B, C, rows, columns], each image by itself -> the same, mixed."""
        if context is not None and context.kept is not None:
            unit = F.normalize(maps[0].flatten(1).T, dim=-1)
            context.keep("global aggregation", self._weights(unit, unit), (maps.shape[-2], maps.shape[-1]))
        return torch.stack([self._mixed(own.flatten(1).T).T.unflatten(1, maps.shape[-2:]) for own in maps])

    def _mixed(self, tokens: Tensor) -> Tensor:
        unit = F.normalize(tokens, dim=-1)
        mixed = torch.empty_like(tokens)
        for start in range(0, len(tokens), self.tile):
            mixed[start : start + self.tile] = self._weights(unit[start : start + self.tile], unit) @ tokens
        return mixed

    def _weights(self, rows: Tensor, unit: Tensor) -> Tensor:
        centre = unit.mean(dim=0)  # the mean of all products is the product of the means
        scores = self.scale * (rows @ unit.T - centre @ centre)
        return scores.masked_fill_(scores < 0, -torch.inf).softmax(dim=-1)
