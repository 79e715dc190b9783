"""The search for regions, beside whatever else is going on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from hclip_mmseg.training_free.backbone import PatchView
from hclip_mmseg.training_free.denoising import denoised_rows, raw_rows
from hclip_mmseg.training_free.regions import PixelRegions, cluster_images, pixel_regions

Search = Callable[[], PixelRegions | None]
"""Waits for an image's regions, None where there are none."""


class RegionFinder(nn.Module):
    """Regions of an image from the correlation of its patches (CLIPtrase, section 3.3).

    Args:
        epsilon: largest distance of neighbours among the correlation's rows; 0.7 as published at 224 pixels, 1.1 at
            336.
        min_samples: neighbours that make a patch a core; 3 as published at 224 pixels, 7 at 336.
        denoise: whether global patches are taken out.
        features: config of another model whose tokens are correlated instead of CLIP's, such as
            ``dict(type='TimmPatchFeatures', model='vit_base_patch14_dinov2', weights='dinov2.pth')``.
        workers: threads that cluster.
    """

    def __init__(
        self,
        epsilon: float,
        min_samples: int,
        denoise: bool = True,
        features: Mapping[str, Any] | None = None,
        workers: int = 2,
    ) -> None:
        super().__init__()
        if epsilon <= 0 or min_samples < 1:
            raise ValueError(f"epsilon {epsilon} must be positive and min_samples {min_samples} at least 1")
        if workers < 1:
            raise ValueError(f"regions.workers must be at least 1, not {workers!r}")
        self.epsilon, self.min_samples, self.denoise = epsilon, min_samples, denoise
        self.features = None if features is None else MODELS.build(dict(features))
        self.workers = workers
        self._pool: ThreadPoolExecutor | None = None

    def features_of(self, images: Tensor, view: PatchView) -> Tensor:
        """What is correlated: CLIP's own tokens, or the other model's on the same grid of patches.

        Args:
            images: normalised for CLIP, [B, 3, H, W].
            view: what CLIP says of them, with correlation.

        Returns:
            [B, 1 + patches, C], the CLS token's first.
        """
        if self.features is not None:
            return self.features(images, view.grid)
        assert view.correlation is not None
        return view.correlation

    def rows(self, features: Tensor) -> Tensor:
        """Rows of the correlation of one image, [1 + patches, C] -> [patches, patches]."""
        return denoised_rows(features) if self.denoise else raw_rows(features)

    @torch.no_grad()
    def find(
        self, features: Tensor, sizes: Sequence[tuple[int, int]], grid: tuple[int, int]
    ) -> list[PixelRegions | None]:
        """Regions of images of one size.

        Args:
            features: [B, 1 + patches, C].
            sizes: height and width of each result.
            grid: rows and columns of patches.

        Returns:
            The regions of each image; None where there are none.
        """
        rows = [self.rows(own) for own in features]
        return pixel_regions(rows, cluster_images(rows, self.epsilon, self.min_samples), grid, sizes)

    def start(self, features: Tensor, sizes: Sequence[tuple[int, int]], grid: tuple[int, int]) -> list[Search]:
        """As :meth:`find`, in other threads: on a CPU one for each image, while a GPU takes all images together."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="regions")
        at_once = len(sizes) if features.is_cuda else 1
        waits: list[Search] = []
        for start in range(0, len(sizes), at_once):
            own = slice(start, start + at_once)
            found = self._pool.submit(self.find, features[own], sizes[own], grid)
            waits += [partial(_result, found, index) for index in range(len(sizes[own]))]
        return waits

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None}


def _result(found: Future[list[PixelRegions | None]], index: int) -> PixelRegions | None:
    return found.result()[index]
