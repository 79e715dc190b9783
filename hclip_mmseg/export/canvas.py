"""The size that a detector's images are brought to, as its config's test pipeline says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hclip_mmseg.files.errors import InputError


class Canvas(NamedTuple):
    """How an image is brought to a fixed size.

    Attributes:
        size: height and width of the canvas in pixels.
        scale: longest and shortest side of the image in pixels; its shape is kept.
        pad: RGB of the canvas beside the image; None: the mean, 0 after normalisation.
        rounded: whether resized pixels are whole numbers.
    """

    size: tuple[int, int]
    scale: tuple[int, int]
    pad: tuple[float, ...] | None
    rounded: bool


def canvas_of(pipeline: Sequence[Mapping[str, Any]], divisor: int) -> Canvas:
    """The canvas of a test pipeline; without a step that pads, the square that every image fits on.

    Args:
        pipeline: the steps' configs.
        divisor: of the canvas's sides.

    Raises:
        ValueError: if images are not resized by one scale that keeps their shape.
    """
    steps = {str(step["type"]).split(".")[-1]: step for step in pipeline}
    resize, pad = steps.get("Resize"), steps.get("Pad")
    scale = None if resize is None else resize.get("scale")
    if resize is None or not resize.get("keep_ratio") or not isinstance(scale, Sequence):
        raise InputError("a detector's file needs a step Resize with scale=(width, height) and keep_ratio=True")
    longest, shortest = max(scale), min(scale)
    width, height = (longest, longest) if pad is None or pad.get("size") is None else pad["size"]
    values = None if pad is None else pad.get("pad_val", 0)
    values = values.get("img", 0) if isinstance(values, Mapping) else values
    bgr = (values,) * 3 if isinstance(values, (int, float)) else values
    rounded = not any(step.get("to_float32") for step in pipeline)
    size = (-(-height // divisor) * divisor, -(-width // divisor) * divisor)
    return Canvas(size, (longest, shortest), None if bgr is None else tuple(map(float, bgr[::-1])), rounded)
