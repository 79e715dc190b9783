"""Shifted windows over the grid of an image, as permutations of its positions."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor


class WindowLayout(NamedTuple):
    """How the positions of a grid are grouped into regions that attend to themselves alone.

    A region is a window, or what lies together of a shifted window in which a cyclic shift brought together what
    were no neighbours.

    Attributes:
        order: [H * W] raster position of each place in region order.
        inverse: [H * W] place in region order of each raster position.
        lengths: positions of each region.
    """

    order: Tensor
    inverse: Tensor
    lengths: tuple[int, ...]


def window_layout(height: int, width: int, window: int, shift: int, device: torch.device) -> WindowLayout:
    """Groups an H x W grid into window x window groups, shifted cyclically by ``shift``.

    Layouts are made once and held, but for those inside a graph that torch.export or torch.compile records: there
    they are constants of the graph.

    Raises:
        ValueError: if the window does not divide the grid.
    """
    make = _make_layout if torch.compiler.is_compiling() else _hold_layout
    return make(height, width, window, shift, device)


def forget_layouts() -> None:
    """Drop the layouts that are held."""
    _hold_layout.cache_clear()


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _hold_layout(height: int, width: int, window: int, shift: int, device: torch.device) -> WindowLayout:
    return _make_layout(height, width, window, shift, device)


def _make_layout(height: int, width: int, window: int, shift: int, device: torch.device) -> WindowLayout:
    if height % window or width % window:
        raise ValueError(
            f"a window of {window} does not divide the {height} x {width} grid of tokens; choose an input "
            "size whose grid is a multiple of the window"
        )
    # All on the device: a graph that holds anything in main memory is no CUDA graph.
    places = torch.arange(height * width, device=device)
    grid = places.view(height, width).roll((-shift, -shift), dims=(0, 1))
    regions = [
        grid[top:bottom, left:right].flatten()
        for top, bottom in pairwise(_borders(height, window, shift))
        for left, right in pairwise(_borders(width, window, shift))
    ]
    order = torch.cat(regions)
    return WindowLayout(
        order, torch.zeros_like(order).scatter(0, order, places), tuple(region.shape[0] for region in regions)
    )


def _borders(length: int, window: int, shift: int) -> list[int]:
    """Where regions begin and end along a side: at each window, and where a shift brought the far side to."""
    return sorted({*range(0, length, window), length - shift, length})


class _Permute(torch.autograd.Function):
    """``x[:, order]`` whose gradient is the inverse permutation, which is cheaper than a scattered sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(order, inverse)
        return x.index_select(1, order)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        order, inverse = ctx.saved_tensors
        return _Permute.apply(gradient.contiguous(), inverse, order), None, None


def permute_positions(x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    """Reorders dimension 1 of x [N, positions, C] by the permutation ``order`` with inverse ``inverse``."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return x.index_select(1, order)
    return _Permute.apply(x, order, inverse)
