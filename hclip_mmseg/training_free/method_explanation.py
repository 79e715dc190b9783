"""What a method of the field makes of one image: what its patches take of each other, and the map of every name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmseg.structures import SegDataSample
from numpy.typing import NDArray

from hclip_mmseg.training_free.byte_images import Normalisation
from hclip_mmseg.training_free.dense import PatchWeights
from hclip_mmseg.training_free.explanation import Point, check_points, middles
from hclip_mmseg.training_free.protocol import benchmark_of
from hclip_mmseg.training_free.region_folder import RegionFolder
from hclip_mmseg.training_free.segmentor import TrainingFreeSegmentor


@dataclass(frozen=True, eq=False)
class MethodExplanation:
    """One image; h x w are patches, H x W pixels.

    Attributes:
        image: RGB uint8 [H, W, 3].
        points: (x, y) in pixels, what the maps of points belong to.
        taken: title -> [points, h, w], what the patch at each point takes of the others: attention, affinity ...
        regions: title -> [H, W], numbers of regions; -1 for none.
        names: name -> [H, W], its probability, of the names that are most probable somewhere.
        labels: [H, W], indices of ``vocabulary``: the result.
        vocabulary: the names.
    """

    image: NDArray[np.uint8]
    points: tuple[Point, ...]
    taken: Mapping[str, NDArray[np.float32]]
    regions: Mapping[str, NDArray[np.int64]]
    names: Mapping[str, NDArray[np.float32]]
    labels: NDArray[np.int64]
    vocabulary: tuple[str, ...]


@torch.no_grad()
def explain_method(
    model: TrainingFreeSegmentor,
    image: NDArray[np.uint8],
    points: Sequence[Point] | None = None,
    count: int = 3,
    path: str | Path = "",
    most_names: int = 8,
) -> MethodExplanation:
    """Segments an image by the model's protocol, then looks at it as one window with all mixing kept.

    Args:
        model: with a protocol.
        image: RGB uint8 [H, W, 3].
        points: (x, y) in pixels; None for the middles of the largest areas of one label.
        count: of how many areas then.
        path: of the image, by which regions are found in a folder.
        most_names: whose maps are given.

    Raises:
        ValueError: if the model has no protocol, or a point is outside of the image.
        FileNotFoundError: if there are no regions of the image where the model reads them from a folder.
    """
    windowed = model.windowed
    if windowed is None:
        raise ValueError("the model has no protocol of the field: see explain")
    check_points(points, image)
    height, width = image.shape[:2]
    bgr = torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)))
    metainfo = dict(ori_shape=(height, width), img_path=str(path))
    sample = SegDataSample(metainfo=dict(metainfo))
    memory, model.score_memory = model.score_memory, 4 * len(model.vocabulary) * height * width
    try:
        found = model.test_step(dict(inputs=[bgr], data_samples=[sample]))[0]
    finally:
        model.score_memory = memory
    labels = found.pred_sem_seg.data[0].cpu().numpy()

    prepared = model.data_preprocessor(dict(inputs=[bgr], data_samples=[SegDataSample()]), False)["inputs"][0]
    settings = replace(windowed.protocol.settings(model.asked), window=0, pad=1)
    kept: dict[str, PatchWeights] = {}
    benchmark, normalisation = benchmark_of(model.asked), Normalisation.of(model.data_preprocessor)
    windowed.scores(model.backbone, model.text(), prepared, settings, metainfo, benchmark, kept, normalisation)
    points = middles(labels, count) if points is None else points
    taken = {}
    for title, (weights, (rows, columns)) in kept.items():
        patches = [y * rows // height * columns + x * columns // width for x, y in points]
        taken[title] = weights[patches].float().cpu().numpy().reshape(-1, rows, columns)
    scores = found.seg_logits.data
    most = scores.flatten(1).amax(dim=1).argsort(descending=True, stable=True)[:most_names].tolist()
    return MethodExplanation(
        image=image,
        points=tuple(points),
        taken=taken,
        regions=_regions(model, metainfo),
        names={model.vocabulary[index]: scores[index].float().cpu().numpy() for index in most},
        labels=labels,
        vocabulary=model.vocabulary,
    )


def _regions(model: TrainingFreeSegmentor, metainfo: Mapping[str, Any]) -> dict[str, NDArray[np.int64]]:
    """Regions that the model reads for an image, by what reads them."""
    readers = {"regions of the attention": getattr(model.backbone.method, "regions", None)}
    readers["regions of the result"] = model.refinement
    size: tuple[int, int] = metainfo["ori_shape"]
    return {
        title: reader.read(metainfo, size).numpy() - 1
        for title, reader in readers.items()
        if isinstance(reader, RegionFolder)
    }
