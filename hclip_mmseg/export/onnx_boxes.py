"""What stands around an exported detector: the image's size before it, and the suppression of boxes behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hclip_mmseg.export.resampling import Floats, Size
from hclip_mmseg.results import Boxes


def on_canvas(image: NDArray[np.uint8], size: Size, settings: Mapping[str, Any]) -> tuple[Floats, tuple[float, float]]:
    """An image resized to fit, in the top left corner of a canvas.

    Args:
        image: RGB uint8 [H, W, 3].
        size: height and width of the canvas in pixels.
        settings: of the file's description: ``scale``, the longest and shortest side in pixels, ``pad``, the canvas's
            RGB, and ``rounded``, whether resized pixels are whole numbers.

    Returns:
        The canvas, float32 [h, w, 3], and by how much the image was scaled along x and y.
    """
    height, width = image.shape[:2]
    longest, shortest = settings["scale"]
    factor = min(longest / max(height, width), shortest / min(height, width))
    rows, columns = int(height * factor + 0.5), int(width * factor + 0.5)
    if not rows or not columns:
        raise ValueError(f"an image of {height} x {width} pixels is too narrow: nothing is left of it at {size}")
    pixels = image if settings["rounded"] else image.astype(np.float32)
    canvas: Floats = np.empty((*size, 3), np.float32)
    canvas[:] = settings["pad"]
    canvas[:rows, :columns] = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return canvas, (columns / width, rows / height)


def best_boxes(
    corners: Floats, scores: Floats, folds: NDArray[np.int64], image: Size, settings: Mapping[str, Any]
) -> Boxes:
    """The boxes of each name that no better one of it covers, highest scores first; MMDetection's ``multiclass_nms``.

    Args:
        corners: [N, 4] in pixels of the image.
        scores: [N, T] in 0..1.
        folds: [T] the class of each name; -1: it competes, and is not reported.
        image: height and width in pixels, which boxes are cut to.
        settings: of the file's description: ``score_threshold``, ``iou_threshold`` and ``max_boxes``.
    """
    rows, names = np.nonzero(scores > settings["score_threshold"])
    found = scores[rows, names]
    order = np.argsort(-found, kind="stable")
    rows, names, found = rows[order], names[order], found[order]
    chosen = np.zeros(len(found), bool)
    for name in np.unique(names):
        (own,) = np.nonzero(names == name)
        chosen[own[suppressed(corners[rows[own]], settings["iou_threshold"])]] = True
    (kept,) = np.nonzero(chosen)
    kept = kept[: settings["max_boxes"]]
    height, width = image
    cut: Floats = np.clip(corners[rows[kept]], 0, np.array([width, height, width, height], np.float32))
    boxes = Boxes(cut, found[kept], folds[names[kept]])
    return boxes[(boxes.labels >= 0) & (cut[:, 2:] > cut[:, :2]).all(axis=1)]


def suppressed(corners: Floats, threshold: float) -> NDArray[np.int64]:
    """Which of boxes [N, 4], best first, no better one that is kept covers by an IoU above the threshold."""
    area = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    waiting: NDArray[np.int64] = np.arange(len(corners))
    kept: list[int] = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(int(best))
        first, others = corners[best], corners[waiting]
        sides = np.minimum(first[2:], others[:, 2:]) - np.maximum(first[:2], others[:, :2])
        common = sides.clip(min=0).prod(axis=1)
        waiting = waiting[common <= threshold * (area[best] + area[waiting] - common)]
    return np.array(kept, np.int64)
