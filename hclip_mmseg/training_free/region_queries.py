"""Queries of a mask decoder that start from regions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from hclip_mmseg.training_free.pooled_regions import pooled_regions
from hclip_mmseg.training_free.region_finder import RegionFinder


class RegionQueries(NamedTuple):
    """What a mask decoder's queries can start from.

    Attributes:
        masks: [B, Q, h, w], 1 where a patch belongs to the region, else 0.
        features: [B, Q, embed_dim] of unit norm, see :class:`~.pooled_regions.PooledRegions`.
        present: bool [B, Q], which of the queries are regions; masks and features of the others are 0.
    """

    masks: Tensor
    features: Tensor
    present: Tensor


@MODELS.register_module()
class RegionQueryGenerator(nn.Module):
    """Finds regions of images without training and pools CLIP's tokens over them.

    Args:
        backbone: config of a ``TrainingFreeBackbone``.
        regions: arguments of :class:`~.region_finder.RegionFinder`.
        queries: how many are given for an image, its largest regions first.
    """

    def __init__(self, backbone: dict[str, Any], regions: Mapping[str, Any], queries: int = 100) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.region_finder = RegionFinder(**regions)
        self.queries = queries

    @torch.no_grad()
    def forward(self, images: Tensor) -> RegionQueries:
        """Normalised images [B, 3, H, W], sides multiples of the patch -> regions and their features."""
        found = pooled_regions(self.backbone, self.region_finder, images)
        grid = self.backbone.image_tower.grid_of(*images.shape[-2:])
        masks = images.new_zeros(len(images), self.queries, *grid)
        features = images.new_zeros(len(images), self.queries, self.backbone.image_tower.embed_dim)
        present = torch.zeros(len(images), self.queries, dtype=torch.bool, device=images.device)
        for index, (regions, of_regions) in enumerate(found):
            largest = torch.bincount(regions.flatten()).argsort(descending=True, stable=True)[: self.queries]
            count = len(largest)
            masks[index, :count] = (regions == largest[:, None, None]).to(masks.dtype)
            features[index, :count] = of_regions[largest].to(features.dtype)
            present[index, :count] = True
        return RegionQueries(masks, features, present)
