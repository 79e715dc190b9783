"""COCO's forms of regions, boxes and panoptic segments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from hclip_mmseg.compat.panoptic_api import id2rgb
from hclip_mmseg.files.run_lengths import compressed_run_lengths
from hclip_mmseg.visualization import name_colours


def categories(names: Sequence[str], things: Sequence[bool] = ()) -> list[dict[str, Any]]:
    """The class names as COCO's categories, with ids from 1.

    Args:
        names: in label order.
        things: for every name whether it is counted one by one; () where nobody says: then as stuff.
    """
    counted = things or [False] * len(names)
    return [
        dict(id=index + 1, name=name, supercategory="", isthing=int(thing), color=colour)
        for index, (name, thing, colour) in enumerate(zip(names, counted, name_colours(names).tolist(), strict=True))
    ]


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask [H, W] as COCO's compressed run lengths."""
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return dict(size=list(encoded["size"]), counts=encoded["counts"].decode("ascii"))


def polygons_of(mask: NDArray[np.bool_], left: int = 0) -> list[list[float]]:
    """Polygons (x, y, x, y ...) that pycocotools fills to the same mask [H, W].

    Contours are traced on the mask enlarged twice, so that they run between the pixels' centres, and lines of one pixel
    have an area. COCO's polygons have no holes: a region with holes is cut through one of them, until none is left.

    Args:
        mask: [H, W].
        left: added to every x.
    """
    large = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, hierarchy = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if hierarchy is None:
        return []
    holes = [contour for contour, relation in zip(contours, hierarchy[0], strict=True) if relation[3] >= 0]
    if not holes:
        return [((contour[:, 0] + 0.5) / 2 + (left, 0)).flatten().tolist() for contour in contours]
    # a hole's contour runs on the pixels around it: one column further right lies the hole itself
    columns = sorted(int(np.min(contour[:, 0, 0])) // 2 + 1 for contour in holes)
    cut = columns[len(columns) // 2]
    return polygons_of(mask[:, :cut], left) + polygons_of(mask[:, cut:], left + cut)


def region_results(
    parts: Iterable[tuple[int, NDArray[np.bool_]]],
    certainty: NDArray[np.float32] | None,
    image_id: int,
    polygons: bool = False,
) -> list[dict[str, Any]]:
    """COCO's results of regions.

    Args:
        parts: (index of the class name, mask [H, W]) of each.
        certainty: [H, W], whose mean over the mask is the region's score; None: 1.
        image_id: of the image.
        polygons: whether the regions are polygons instead of run lengths.
    """
    found = []
    for index, mask in parts:
        encoded = run_lengths(mask)
        entry = dict(
            image_id=image_id,
            category_id=index + 1,
            bbox=coco_mask.toBbox(encoded).tolist(),
            area=int(coco_mask.area(encoded)),
            score=1.0 if certainty is None else round(float(certainty[mask].mean()), 4),
            iscrowd=0,
            segmentation=polygons_of(mask) if polygons else encoded,
        )
        found.append(entry)
    return found


def box_results(
    corners: NDArray[np.float32], scores: NDArray[np.float32], labels: NDArray[np.int64], image_id: int
) -> list[dict[str, Any]]:
    """COCO's results of boxes.

    Args:
        corners: [n, 4], (x1, y1, x2, y2) in pixels.
        scores: [n].
        labels: [n], indices of class names.
        image_id: of the image.
    """
    found = []
    for (x1, y1, x2, y2), score, label in zip(corners.tolist(), scores.tolist(), labels.tolist(), strict=True):
        bbox = [round(side, 2) for side in (x1, y1, x2 - x1, y2 - y1)]
        area = round(bbox[2] * bbox[3], 2)
        found.append(
            dict(image_id=image_id, category_id=label + 1, bbox=bbox, area=area, score=round(score, 4), iscrowd=0)
        )
    return found


def panoptic(ids: NDArray[np.integer], label_of: Mapping[int, int]) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    """COCO's panoptic form of segments: see :meth:`~hclip_mmseg.results.Result.to_panoptic`.

    Args:
        ids: [H, W], 0 where there is no segment.
        label_of: id of each segment -> index of its class name.
    """
    info = []
    for segment, label in label_of.items():
        encoded = coco_mask.encode(np.asfortranarray(ids == segment, dtype=np.uint8))
        bbox = [int(side) for side in coco_mask.toBbox(encoded)]
        area = int(coco_mask.area(encoded))
        info.append(dict(id=segment, category_id=label + 1, area=area, bbox=bbox, iscrowd=0))
    return id2rgb(ids), info


def masks_of(results: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Masks [n, *size] of results with run lengths.

    Raises:
        ValueError: if run lengths are damaged.
    """
    masks = [coco_mask.decode(compressed_run_lengths(entry["segmentation"])).astype(bool) for entry in results]
    return np.stack(masks) if masks else np.zeros((0, *size), bool)
