"""Learned positional embeddings on other grids of patches than their own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.adapters import Held


def resized_positions(
    positions: Tensor, grid: tuple[int, int], to: tuple[int, int], interpolation: str = "bicubic", prefix: int = 1
) -> Tensor:
    """Positional embeddings of another grid of patches.

    Args:
        positions: [prefix + rows * columns, width], the CLS token's first; or one more dimension of 1 before.
        grid: their rows and columns.
        to: the rows and columns that are wanted.
        interpolation: 'bicubic' or 'bilinear'; or 'published', bicubic at the scale of a grid 0.1 patches larger each
            way, as DINO's code and that of the training-free methods resize them.
        prefix: 1, or 0 where there is no CLS token.

    Returns:
        [prefix + rows * columns, width] of the new grid; the CLS token's stays as it is.
    """
    positions = positions.flatten(0, -2)
    if not _is_open(to) and grid == to:
        return positions
    patches = positions[prefix:].reshape(1, *grid, -1).permute(0, 3, 1, 2)
    if interpolation != "bilinear" and patches.requires_grad and torch.are_deterministic_algorithms_enabled():
        patches = _resized_by_products(patches, to, interpolation)
    else:
        patches = _resized(patches, to, interpolation)
    return torch.cat([positions[:prefix], patches[0].flatten(1).T])


def _resized(maps: Tensor, to: tuple[int, int], interpolation: str) -> Tensor:
    """Maps [1, C, rows, columns] on another grid."""
    if interpolation != "published":
        return F.interpolate(maps, size=to, mode=interpolation, align_corners=False)
    scale = [(new + 0.1) / old for new, old in zip(to, maps.shape[-2:], strict=True)]
    return F.interpolate(maps, scale_factor=scale, mode="bicubic", align_corners=False)


def _resized_by_products(maps: Tensor, to: tuple[int, int], interpolation: str) -> Tensor:
    """The same, rows and columns apart: torch's bicubic form has no deterministic gradient on a GPU."""
    rows, columns = (torch.eye(side, device=maps.device)[None] for side in maps.shape[-2:])
    down = _resized(rows[..., None], (to[0], 1), interpolation)[0, :, :, 0]
    right = _resized(columns[:, :, None], (1, to[1]), interpolation)[0, :, 0]
    with torch.autocast(maps.device.type, enabled=False):
        return down.to(maps.dtype).T @ maps @ right.to(maps.dtype)


def _is_open(grid: tuple[int, int]) -> bool:
    """Whether a graph that is being recorded leaves the grid open: then nothing may depend on what it is."""
    return not all(isinstance(side, int) for side in grid)


class HeldPositions:
    """Positional embeddings resized before, for as long as they need no gradient and have not changed.

    Images come in many shapes, of which the last few are held.

    Args:
        most: how many grids are held at once.
    """

    def __init__(self, most: int = 16) -> None:
        self.most = most
        self._held: Held[dict[tuple[int, int], Tensor]] = Held()

    def resized(
        self, positions: Tensor, grid: tuple[int, int], to: tuple[int, int], interpolation: str, prefix: int = 1
    ) -> Tensor:
        """See :func:`resized_positions`."""
        if _is_open(to) or grid == to or (positions.requires_grad and torch.is_grad_enabled()):
            return resized_positions(positions, grid, to, interpolation, prefix)
        held = self._held.get(lambda: [positions], dict)
        if to in held:
            return held[to]
        with torch.inference_mode(False), torch.no_grad():
            made = resized_positions(positions, grid, to, interpolation, prefix)
        if not torch.compiler.is_compiling():
            if len(held) == self.most:
                del held[next(iter(held))]
            held[to] = made
        return made

    def settle(self) -> None:
        """Hold positions without comparing the parameter, until :meth:`forget`."""
        self._held.settle()

    def forget(self) -> None:
        """Drop what is held: after writes that leave no trace in the parameter, as through its ``.data``."""
        self._held.forget()
