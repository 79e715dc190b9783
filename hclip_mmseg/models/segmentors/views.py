"""The views of an image that the segmentor looks at, and how their scores are put together."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.models.score_maps import resized

MODES = ("whole", "slide", "slide_whole")


class View(NamedTuple):
    """A part of the canvas, in canvas pixels; ``whole`` views are averaged apart from windows."""

    top: int
    left: int
    height: int
    width: int
    whole: bool


class CutImage(NamedTuple):
    """An image as its views are cut from it.

    Attributes:
        pixels: the image [3, H, W], shrunk where it is larger than the canvas.
        canvas: resized to the canvas [3, h, w].
        views: what is looked at.
    """

    pixels: Tensor
    canvas: Tensor
    views: list[View]


def check_views(
    mode: str, canvas: int | None, window: int, overlap: float, clip_resolution: int | None
) -> None:
    """Check how images are to be looked at; see ``test_cfg`` of the segmentor.

    Raises:
        ValueError: which entry is wrong, and what it may be.
    """
    if mode not in MODES:
        raise ValueError(f"test_cfg.mode must be 'whole', 'slide' or 'slide_whole', not {mode!r}")
    for name, side, optional in (
        ("window", window, False),
        ("canvas", canvas, True),
        ("clip_resolution", clip_resolution, True),
    ):
        if not (side is None and optional) and (isinstance(side, bool) or not isinstance(side, int) or side < 1):
            other = ", or None" if optional else ""
            raise ValueError(f"test_cfg.{name} must be a number of pixels, at least 1{other}, not {side!r}")
    if isinstance(overlap, bool) or not isinstance(overlap, (int, float)) or not 0 <= overlap < 1:
        raise ValueError(
            f"test_cfg.overlap is the part of a window that neighbours share, from 0 to below 1, not {overlap!r}"
        )
    if clip_resolution is None and mode == "slide_whole" and (canvas is None or canvas < window):
        raise ValueError(
            f"test_cfg: with canvas={canvas}, window={window} and clip_resolution=None windows may be smaller than the "
            "whole view that is run with them: set clip_resolution, or mode='slide'"
        )


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """First pixels of windows that cover ``length``; the last one is moved inside."""
    if length <= window:
        return [0]
    starts = list(range(0, length - window, stride))
    return [*starts, length - window]


def views_of(height: int, width: int, mode: str, window: int, stride: int) -> list[View]:
    """Views of a canvas.

    Args:
        height, width: of the canvas in pixels.
        mode: 'whole', 'slide' (windows), or 'slide_whole' (windows, and the whole canvas).
        window: side of a window; cut to the canvas.
        stride: pixels between windows.
    """
    views = []
    if mode != "whole":
        size = min(window, height), min(window, width)
        views = [
            View(top, left, *size, whole=False)
            for top in window_starts(height, window, stride)
            for left in window_starts(width, window, stride)
        ]
    if mode != "slide":
        views.append(View(0, 0, height, width, whole=True))
    return views


class ScoreCanvas:
    """Averages the scores of windows where they overlap, and that with the whole view's.

    Only classes that some view has scored take memory; the others' score is zero.

    Args:
        size: height and width of the canvas.
        views: all views that will be added.
        classes: the class indices that any view scores, ascending.
    """

    def __init__(self, size: tuple[int, int], views: list[View], classes: Tensor) -> None:
        self.size = size
        self.classes = classes
        self.has_windows = not all(view.whole for view in views)
        self.has_whole = any(view.whole for view in views)
        self.scores = torch.zeros(len(classes), *size, device=classes.device)
        self.count = torch.zeros(size, device=classes.device)
        for view in views:
            if not view.whole:
                self._part(self.count, view).add_(1)
        self.count.clamp_(min=1)

    @staticmethod
    def _part(canvas: Tensor, view: View) -> Tensor:
        return canvas[..., view.top : view.top + view.height, view.left : view.left + view.width]

    def add(self, view: View, logits: Tensor, kept: Tensor | None, intermediate: tuple[int, int] | None) -> None:
        """Adds one view's scores.

        Args:
            view: where it is.
            logits: [K, h, w] at the head's resolution.
            kept: [K] class indices of the logits, or None for all classes in order.
            intermediate: height and width that logits are resized to before the sigmoid; None for the
                sigmoid at the head's resolution.
        """
        maps = logits.float()
        if intermediate is not None:
            maps = resized(maps, intermediate)
        maps = resized(maps.sigmoid(), (view.height, view.width))
        if self.has_windows and self.has_whole:
            maps = maps * 0.5
        if not view.whole:
            maps = maps / self._part(self.count, view)
        part = self._part(self.scores, view)
        if kept is None:
            part += maps
        else:
            part.index_add_(0, torch.searchsorted(self.classes, kept), maps)


def shrunk(image: Tensor, side: int) -> Tensor:
    """An image [3, H, W] whose shorter side is longer than ``side``, brought down to it; others as they are.

    Pixels are averaged, or most of a large image's would never be read. The published evaluation does this to
    images before the model gets them.
    """
    height, width = image.shape[-2:]
    if min(height, width) <= side:
        return image
    scale = side / min(height, width)
    size = round(height * scale), round(width * scale)
    return F.interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]
