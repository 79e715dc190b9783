"""What happens to one image on the way to its label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmseg.structures import SegDataSample
from numpy.typing import NDArray
from torch import Tensor

from hclip_mmseg.training_free.denoising import denoised_rows, raw_rows
from hclip_mmseg.training_free.depth import attention_by_depth
from hclip_mmseg.training_free.regions import cluster_patches, pixel_regions
from hclip_mmseg.training_free.segmentor import TrainingFreeSegmentor
from hclip_mmseg.training_free.self_correlation import self_correlation

Point = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Explanation:
    """One image, step by step; h x w are patches, H x W pixels.

    Attributes:
        image: RGB uint8 [H, W, 3].
        points: (x, y) in pixels, what the maps of points belong to.
        attention: [points, h, w], CLIP's own attention of each point's patch in the last block but one: before the
            correlation is recovered.
        correlation: [points, h, w], the patch's self-correlation there: after.
        denoised: [points, h, w], the same without what the CLS token sees.
        received: [blocks, h, w], what every patch gets of the others' attention, as a multiple of an even share.
        raw_regions: [H, W], regions from the correlation as it is; None where there are none.
        regions: [H, W], regions from the denoised correlation; None where there are none.
        labels: [H, W], indices of ``vocabulary``: the result.
        vocabulary: the words.
    """

    image: NDArray[np.uint8]
    points: tuple[Point, ...]
    attention: NDArray[np.float32]
    correlation: NDArray[np.float32]
    denoised: NDArray[np.float32]
    received: NDArray[np.float32]
    raw_regions: NDArray[np.int64] | None
    regions: NDArray[np.int64] | None
    labels: NDArray[np.int64]
    vocabulary: tuple[str, ...]


def middles(regions: NDArray[np.int64], count: int) -> tuple[Point, ...]:
    """A point (x, y) of each of the largest regions: its pixel next to its centre of mass."""
    found = []
    for region in np.bincount(regions.ravel()).argsort(kind="stable")[::-1][:count]:
        rows, columns = np.nonzero(regions == region)
        if len(rows):
            nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
            found.append((int(columns[nearest]), int(rows[nearest])))
    return tuple(found)


def check_points(points: Sequence[Point] | None, image: NDArray[np.uint8]) -> None:
    """Raises a ValueError if a point (x, y) is outside of an image [H, W, 3]."""
    height, width = image.shape[:2]
    outside = [point for point in points or () if not (0 <= point[0] < width and 0 <= point[1] < height)]
    if outside:
        raise ValueError(f"the point {outside[0]} (x, y) is outside of the image of {width} x {height} pixels")


@torch.no_grad()
def explain(
    model: TrainingFreeSegmentor, image: NDArray[np.uint8], points: Sequence[Point] | None = None, count: int = 3
) -> Explanation:
    """Goes through an image with everything kept.

    Args:
        model: with regions.
        image: RGB uint8 [H, W, 3].
        points: (x, y) in pixels; None for the middles of the largest regions.
        count: of how many regions then.

    Raises:
        ValueError: if the model finds no regions, or a point is outside of the image.
    """
    finder = model.region_finder
    if finder is None:
        raise ValueError("the model compares single patches and finds no regions: choose a config of CLIPtrase")
    height, width = image.shape[:2]
    check_points(points, image)
    bgr = torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)))
    sample = SegDataSample(metainfo=dict(ori_shape=(height, width)))
    labels = model.test_step(dict(inputs=[bgr], data_samples=[sample]))[0].pred_sem_seg.data[0]

    prepared = model.data_preprocessor(dict(inputs=[bgr], data_samples=[SegDataSample()]), False)["inputs"]
    pixels = model.at_resolution(prepared)
    view = model.backbone.look(pixels)
    features = finder.features_of(pixels, view)[0]
    maps = {"raw": raw_rows(features), "denoised": denoised_rows(features)}
    regions: dict[str, NDArray[np.int64] | None] = {}
    for name, rows in maps.items():
        clusters = cluster_patches(rows, finder.epsilon, finder.min_samples)
        (found,) = pixel_regions([rows], [clusters], view.grid, [(height, width)])
        regions[name] = None if found is None else found.numbers.cpu().numpy()
    received, attention = attention_by_depth(model.backbone, pixels[0])
    if points is None:
        denoised = regions["denoised"]
        points = ((width // 2, height // 2),) if denoised is None else middles(denoised, count)
    rows, columns = view.grid
    patches = [y * rows // height * columns + x * columns // width for x, y in points]

    def as_maps(rows_of_points: Tensor) -> NDArray[np.float32]:
        return rows_of_points.float().cpu().numpy().reshape(-1, *view.grid)

    return Explanation(
        image=image,
        points=tuple(points),
        attention=as_maps(attention[1:, 1:][patches]),
        correlation=as_maps(self_correlation(features)[1:, 1:][patches]),
        denoised=as_maps(maps["denoised"][patches]),
        received=as_maps(received),
        raw_regions=regions["raw"],
        regions=regions["denoised"],
        labels=labels.cpu().numpy(),
        vocabulary=model.vocabulary,
    )
