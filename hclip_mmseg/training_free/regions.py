"""From correlations to regions of pixels: clusters of patches, their mean rows, the region of every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.cluster import DBSCAN
from torch import Tensor

from hclip_mmseg.models.score_maps import best_class, counts_of
from hclip_mmseg.training_free.median import median_filter

NONE = -1
"""Cluster of a patch that DBSCAN counts as noise."""
MOST_ON_GPU = 4096
"""Patches whose clusters a GPU finds by itself, in matrices of patches x patches; more go to the CPU."""
DISTANCES_AT_ONCE = 1 << 20
"""Distances, in fp64, that a GPU computes together, unless one image has more."""


@dataclass(frozen=True)
class PixelRegions:
    """The regions of an image.

    Attributes:
        numbers: int64 [height, width], from 0.
        count: more than the largest number.
    """

    numbers: Tensor
    count: int


def sampled(numbers: Tensor, size: tuple[int, int]) -> Tensor:
    """Whole numbers of pixels [h, w], read at the first pixel of each of [*size] parts, as published."""
    return F.interpolate(numbers[None, None].double(), size=size, mode="nearest")[0, 0].long()


def neighbour_graph(rows: Tensor, epsilon: float, tile: int = 2048) -> csr_matrix:
    """Distances between rows that lie within ``epsilon``, computed ``tile`` rows at a time on the rows' device.

    Args:
        rows: [patches, width].
        epsilon: largest Euclidean distance of neighbours.
        tile: rows at once.

    Returns:
        sparse [patches, patches] of distances in fp64; each row is its own neighbour.
    """
    count = len(rows)
    found: list[tuple[NDArray[Any], ...]] = []
    for start in range(0, count, tile):
        for other in range(0, count, tile):
            squared = squared_distances(rows[start : start + tile], rows[other : other + tile])
            near_row, near_column = (squared <= epsilon**2).nonzero(as_tuple=True)
            near = squared[near_row, near_column].clamp_(min=0).sqrt_()
            parts = (near_row + start, near_column + other, near)
            found.append(tuple(part.cpu().numpy() for part in parts))
    row, column, distance = (np.concatenate(parts) for parts in zip(*found, strict=True))
    own_distance = row == column
    distance[own_distance] = 0.0
    return csr_matrix((distance, (row, column)), shape=(count, count))


def squared_distances(rows: Tensor, others: Tensor) -> Tensor:
    """Squared Euclidean distances of rows [..., n, width] and [..., m, width], fp64 [..., n, m]."""
    own, theirs = rows.double(), others.double()
    # |a|^2 + |b|^2 - 2 a b loses digits where rows are near each other: fp64 keeps those of fp32
    return own.square().sum(dim=-1, keepdim=True) + theirs.square().sum(dim=-1)[..., None, :] - 2 * (own @ theirs.mT)


def density_clusters(near: Tensor, min_samples: int) -> Tensor:
    """DBSCAN (Ester et al., 1996) on the neighbours' own device, which is not waited for.

    A core has ``min_samples`` neighbours; cores that are reached through cores are a cluster, found by squaring the
    matrix of who reaches whom. Clusters are numbered by their first core; a patch that is no core belongs to the first
    cluster that has a core whose neighbour it is. So scikit-learn numbers them.

    Args:
        near: bool [images, patches, patches], whether the second is a neighbour of the first.
        min_samples: see :func:`cluster_patches`.

    Returns:
        int64 [images, patches], from 0; ``NONE`` for none.
    """
    count = near.shape[-1]
    near = near | torch.eye(count, dtype=torch.bool, device=near.device)
    core = near.sum(dim=-1) >= min_samples
    dtype = torch.float16 if near.is_cuda else torch.float32
    reached = (near & core[:, :, None] & core[:, None]).to(dtype)
    for _ in range((count - 1).bit_length()):
        reached = (reached @ reached > 0).to(dtype)
    places = torch.arange(count, device=near.device)
    first = places[:, None].where(reached > 0, count).amin(dim=1)
    of_patch = first[:, :, None].where(near & core[:, :, None], count).amin(dim=1)
    numbers = (core & (first == places)).cumsum(dim=1) - 1
    return numbers.gather(1, of_patch.clamp(max=count - 1)).where(of_patch < count, NONE)


def cluster_patches(rows: Tensor, epsilon: float, min_samples: int) -> NDArray[np.int64]:
    """DBSCAN over the rows of the correlation, with Euclidean distance: on a CPU scikit-learn's, with the same result.

    Args:
        rows: [patches, patches], denoised or not.
        epsilon: largest distance of neighbours.
        min_samples: neighbours, itself included, that make a patch a core of its cluster.

    Returns:
        [patches] the cluster of each, from 0; ``NONE`` for none.
    """
    return cluster_images([rows], epsilon, min_samples)[0]


def cluster_images(rows: Sequence[Tensor], epsilon: float, min_samples: int) -> list[NDArray[np.int64]]:
    """:func:`cluster_patches` of images of one size; a GPU takes them together."""
    if rows[0].is_cuda and len(rows[0]) <= MOST_ON_GPU:
        # one wait for the labels, and none for a graph whose size depends on numbers
        at_once = max(DISTANCES_AT_ONCE // len(rows[0]) ** 2, 1)
        parts = (torch.stack(list(rows[start : start + at_once])) for start in range(0, len(rows), at_once))
        near = torch.cat([squared_distances(part, part) <= epsilon**2 for part in parts])
        return list(density_clusters(near, min_samples).cpu().numpy())
    clustering = DBSCAN(eps=epsilon, min_samples=min_samples, metric="precomputed")
    return [clustering.fit(neighbour_graph(own, epsilon)).labels_ for own in rows]


def region_means(rows: Tensor, clusters: Tensor, count: int) -> Tensor:
    """Mean row of every cluster.

    Args:
        rows: [images, patches, width].
        clusters: int64 [images, patches], from 0, ``NONE`` for none.
        count: most clusters of an image.

    Returns:
        [images, count, width], not a number where an image has no such cluster.
    """
    member = (torch.arange(count, device=rows.device)[:, None] == clusters[:, None]).to(rows.dtype)
    return member @ rows / member.sum(dim=-1, keepdim=True)


def smooth_maps(maps: Tensor, scale: int = 4, window: int = 7) -> Tensor:
    """Maps enlarged and median-filtered.

    Args:
        maps: [regions, rows, columns].
        scale: factor of the bilinear enlargement, corners not aligned.
        window: side of the median's window; at the border the map is mirrored, its edge repeated.

    Returns:
        [regions, scale * rows, scale * columns].
    """
    large = F.interpolate(maps[None], scale_factor=scale, mode="bilinear", align_corners=False)[0]
    return median_filter(large, window)


def pixel_regions(
    rows: Sequence[Tensor],
    clusters: Sequence[NDArray[np.int64]],
    grid: tuple[int, int],
    sizes: Sequence[tuple[int, int]],
) -> list[PixelRegions | None]:
    """The region of every pixel: where the smoothed mean row of which cluster is largest (CLIPtrase, section 3.3).

    Args:
        rows: of each image [patches, patches] that the clusters were found in.
        clusters: of each image [patches], see :func:`cluster_patches`.
        grid: rows and columns of patches.
        sizes: height and width of each result.

    Returns:
        One for each image; None where there is no cluster.
    """
    counts = [int(np.max(own)) + 1 for own in clusters]
    if not any(counts):
        return [None] * len(counts)
    together = torch.stack(list(rows)) if len(rows) > 1 else rows[0][None]
    means = region_means(together, torch.from_numpy(np.stack(clusters)).to(together.device), max(counts))
    maps = torch.cat([own[:count] for own, count in zip(means, counts, strict=True)])
    smooth = smooth_maps(maps.unflatten(1, grid)).split(counts)
    return [
        PixelRegions(best_class(own, size)[0], count) if count else None
        for own, count, size in zip(smooth, counts, sizes, strict=True)
    ]


def vote(labels: Tensor, regions: PixelRegions, classes: int) -> Tensor:
    """Gives every region the label that most of its pixels have; no GPU is waited for.

    Args:
        labels: int64 [height, width], 0 to classes - 1.
        regions: of the same size.
        classes: number of labels.

    Returns:
        int64 [height, width]; the lower label where two are equally frequent.
    """
    pairs = (regions.numbers * classes + labels).flatten()
    votes = counts_of(pairs, regions.count * classes)
    return votes.view(regions.count, classes).argmax(dim=1)[regions.numbers]
