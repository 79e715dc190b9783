"""Resizing images as detectron2 does, on which the published code of CAT-Seg, H-CLIP, FC-CLIP and MAFT+ stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from numpy.typing import NDArray
from PIL import Image

from hclip_mmseg.files.showing import with_article


def shortest_edge_size(height: int, width: int, short_side: int, max_size: int) -> tuple[int, int]:
    """Height and width of an image whose shorter side is resized, as detectron2's ``ResizeShortestEdge`` rounds them.

    Args:
        height, width: of the image, in pixels.
        short_side: the shorter side of the result, in pixels.
        max_size: the most that the longer side may have; the shorter side then gets shorter.
    """
    scale = short_side / min(height, width)
    size = (float(short_side), scale * width) if height < width else (scale * height, float(short_side))
    if max(size) > max_size:
        shrink = max_size / max(size)
        size = size[0] * shrink, size[1] * shrink
    return max(int(size[0] + 0.5), 1), max(int(size[1] + 0.5), 1)


def nearest_labels(labels: NDArray[np.integer], size: tuple[int, int]) -> NDArray[np.integer]:
    """A label map [H, W] at another size: output pixel i takes input pixel floor(i * H / h).

    The published mappers hold label maps as doubles, which detectron2 resizes by torch's nearest mode. Pillow's nearest
    pixel, that under the output pixel's centre, is another.
    """
    maps = torch.from_numpy(labels.astype(np.float64))[None, None]
    return F.interpolate(maps, size=size, mode="nearest")[0, 0].numpy().astype(labels.dtype)


@TRANSFORMS.register_module()
class PublishedResize(BaseTransform):
    """Resizes an image by Pillow's bilinear filter, which antialiases, and its label map by the nearest pixel.

    Stands for detectron2's ``ResizeShortestEdge``. Required key: ``img``, uint8 [H, W, 3]; changed: ``img``,
    ``img_shape``, and ``gt_seg_map`` where labels are loaded before; added: ``scale_factor`` (width, height).

    Args:
        short_side: the shorter side of the result, in pixels, at least 1.
        max_size: the most that the longer side may have, in pixels.

    Raises:
        ValueError: if ``short_side`` is below 1 or above ``max_size``; for an image that is not uint8.
    """

    def __init__(self, short_side: int, max_size: int) -> None:
        if not 1 <= short_side <= max_size:
            raise ValueError(f"short_side must be from 1 to max_size, not {short_side} with max_size={max_size}")
        self.short_side, self.max_size = short_side, max_size

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        image = results["img"]
        if image.dtype != np.uint8:
            raise ValueError(f"{results.get('img_path', 'the image')} must be uint8 to be resized, not {image.dtype}")
        height, width = image.shape[:2]
        size = shortest_edge_size(height, width, self.short_side, self.max_size)
        if size != (height, width):
            resized = Image.fromarray(np.ascontiguousarray(image)).resize(size[::-1], Image.Resampling.BILINEAR)
            results["img"] = np.array(resized)  # a writable copy
            for key in results.get("seg_fields", ()):
                results[key] = nearest_labels(results[key], size)
        results["img_shape"] = size
        results["scale_factor"] = (size[1] / width, size[0] / height)
        results["keep_ratio"] = True
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(short_side={self.short_side}, max_size={self.max_size})"


def published_resize_steps(config: Mapping[str, Any], resize: str) -> list[PublishedResize]:
    """The steps by which a config's test pipeline resizes images before the model.

    Args:
        config: of a run; its ``test_dataloader`` or ``benchmark_transforms`` hold the steps.
        resize: 'published' for these steps, 'direct' for none.

    Raises:
        ValueError: see :func:`check_resize`.
    """
    check_resize(resize, config)
    if resize == "direct":
        return []
    dataset = (config.get("test_dataloader") or {}).get("dataset") or {}
    transforms = config.get("benchmark_transforms") or ()
    if isinstance(transforms, Mapping):
        transforms = transforms.get("default") or ()
    steps = [*filter(_is_published, dataset.get("pipeline") or ())] or filter(_is_published, transforms)
    return [PublishedResize(**{key: value for key, value in step.items() if key != "type"}) for step in steps]


def take_out_published_resize(config: dict[str, Any]) -> None:
    """Takes every ``PublishedResize`` out of a config's evaluations, in place: the model gets the images themselves.

    Benchmarks keep none of their own either, as ``benchmark_transforms`` is set.

    Raises:
        ValueError: if the model does not take images as they are; see :func:`check_resize`.
    """
    check_resize("direct", config)
    for split in ("val_dataloader", "test_dataloader"):
        dataset = (config.get(split) or {}).get("dataset") or {}
        if dataset.get("pipeline"):
            dataset["pipeline"] = _without_published(dataset["pipeline"])
    if config.get("benchmark_pipeline"):
        config["benchmark_pipeline"] = _without_published(config["benchmark_pipeline"])
    transforms = config.get("benchmark_transforms") or []
    if isinstance(transforms, Mapping):
        config["benchmark_transforms"] = {name: _without_published(steps) for name, steps in transforms.items()}
    else:
        config["benchmark_transforms"] = _without_published(transforms)


def use_resize(config: dict[str, Any], resize: str) -> None:
    """Resizes images of a config's evaluations as they are published, as its pipelines do, or not at all.

    Args:
        config: of a run; changed in place by 'direct', see :func:`take_out_published_resize`.
        resize: 'published' or 'direct'.

    Raises:
        ValueError: see :func:`check_resize`.
    """
    check_resize(resize, config)
    if resize == "direct":
        take_out_published_resize(config)


def check_resize(resize: str, config: Mapping[str, Any]) -> None:
    """Check a way to resize for a model.

    Raises:
        ValueError: if it is neither 'published' nor 'direct', or 'direct' for a model of MMDetection's registries,
            which takes images as its config resizes them.
    """
    if resize not in ("published", "direct"):
        raise ValueError(f"resize must be 'published' or 'direct', not '{resize}'")
    if resize == "direct" and config.get("default_scope") == "mmdet":
        kind = with_article(config["model"]["type"])
        raise ValueError(
            f"resize 'direct' is for segmentors that bring an image to their own size; {kind} "
            "takes it as its config's test pipeline resizes it"
        )


def _is_published(step: Mapping[str, Any]) -> bool:
    return str(step["type"]).split(".")[-1] == PublishedResize.__name__


def _without_published(steps: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [step for step in steps if not _is_published(step)]
