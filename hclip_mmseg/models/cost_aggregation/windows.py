"""Shifted windows over the grid of an image, as permutations of its positions."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor


class WindowLayout(NamedTuple):
    """How the positions of a grid are grouped into windows.

    Attributes:
        order: [H * W] raster position of each place in window order.
        inverse: [H * W] place in window order of each raster position.
        masks: for each window either None, or [L, L], True where two positions may see each other: in
            shifted windows, positions that were not neighbours before the shift must not.
    """

    order: Tensor
    inverse: Tensor
    masks: tuple[Tensor | None, ...]


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

    def partition(grid: Tensor) -> Tensor:
        grid = grid.roll((-shift, -shift), dims=(0, 1))
        rows, columns = height // window, width // window
        return grid.view(rows, window, columns, window).transpose(1, 2).reshape(rows * columns, -1)

    # All on the device: a graph that holds anything in main memory is no CUDA graph.
    places = torch.arange(height * width, device=device)
    order = partition(places.view(height, width)).flatten()
    # Rolling brings the first `shift` rows below the last ones: they form a region of their own.
    below, right = (torch.arange(side, device=device) < shift for side in (height, width))
    region = below[:, None] * 2 + right[None, :] * 1
    rows, columns = height // window, width // window
    masks: list[Tensor | None] = []
    for index, group in enumerate(partition(region)):
        mixed = shift > 0 and (index // columns == rows - 1 or index % columns == columns - 1)
        masks.append(group[:, None] == group[None, :] if mixed else None)
    return WindowLayout(order, torch.zeros_like(order).scatter(0, order, places), tuple(masks))


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
