"""Regions of images with what CLIP says of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.training_free.backbone import TrainingFreeBackbone
from hclip_mmseg.training_free.region_finder import RegionFinder


class PooledRegions(NamedTuple):
    """Regions of one image.

    Attributes:
        regions: int64 [H, W], 0 to R - 1; each has at least one pixel.
        features: [R, embed_dim] of unit norm, mean of the unit-norm tokens that the region's pixels lie in.
    """

    regions: Tensor
    features: Tensor


def pool(tokens: Tensor, regions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mean of the tokens that a region's pixels lie in.

    Args:
        tokens: [patches, C].
        regions: int64 [H, W], from 0.
        grid: rows and columns of patches.

    Returns:
        [regions, C].
    """
    patches = torch.arange(len(tokens), device=tokens.device, dtype=torch.float64).view(1, 1, *grid)
    of_pixel = F.interpolate(patches, size=regions.shape, mode="nearest-exact")[0, 0].long()
    count = int(regions.max()) + 1
    overlap = torch.bincount((regions * len(tokens) + of_pixel).flatten(), minlength=count * len(tokens))
    overlap = overlap.view(count, len(tokens)).to(tokens.dtype)
    return overlap @ tokens / overlap.sum(dim=1, keepdim=True)


@torch.no_grad()
def pooled_regions(
    backbone: TrainingFreeBackbone, finder: RegionFinder, images: Tensor, sizes: Sequence[tuple[int, int]] | None = None
) -> list[PooledRegions]:
    """Finds regions and pools CLIP's tokens over them.

    Args:
        backbone: whose tokens.
        finder: of the regions.
        images: normalised [B, 3, H, W]; sides are multiples of the patch.
        sizes: height and width of each image's region map; None for one pixel a patch.

    Returns:
        One for each image; an image without regions is one region.
    """
    view = backbone.look(images)
    sizes = [view.grid] * len(images) if sizes is None else sizes
    features = finder.features_of(images, view)
    tokens = F.normalize(view.tokens[:, 1:], dim=-1)
    searches = finder.start(features, sizes, view.grid)
    results = []
    for search, own, size in zip(searches, tokens, sizes, strict=True):
        found = search()
        numbers = torch.zeros(size, dtype=torch.long, device=own.device) if found is None else found.numbers
        regions = numbers.unique(return_inverse=True)[1]  # some clusters are largest nowhere
        results.append(PooledRegions(regions, F.normalize(pool(own, regions, view.grid), dim=-1)))
    return results
