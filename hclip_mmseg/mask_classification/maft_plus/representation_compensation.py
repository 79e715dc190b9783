"""Keeping a tuned image tower near the frozen one (MAFT+, Sec. 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FORMS = ("paper", "published")


def grid_means(features: Tensor, grid: int) -> Tensor:
    """The means of a map over a grid of regions (MAFT+, Eqs. 2 and 3): [B, C, H, W] -> [B, C, grid, grid].

    Where the grid does not divide a side, neighbouring regions share a row or a column.
    """
    height, width = features.shape[-2:]
    down, right = (_shares(side, grid, features.device) for side in (height, width))
    return down @ features @ right.T


def _shares(side: int, grid: int, device: torch.device) -> Tensor:
    """What the mean of each of a line's regions takes of each place: [grid, side].

    Products by it are ``F.adaptive_avg_pool2d``, which has no deterministic gradient on a GPU.
    """
    places, regions = torch.arange(side, device=device), torch.arange(grid, device=device)[:, None]
    inside = (places >= regions * side // grid) & (places < ((regions + 1) * side + grid - 1) // grid)
    return inside / inside.sum(dim=1, keepdim=True)


def pooled_sums(features: Tensor, grids: Sequence[int]) -> Tensor:
    """What the published code compares in the place of :func:`grid_means`.

    ReLU; a map that is not square is resized bilinearly to a square of its longer side; then for every grid averages
    over squares of W // grid pixels, for the original width W, that do not overlap (what is left over at the right and
    at the bottom is not read), and of these the sums over rows and the sums over columns.

    Args:
        features: [B, C, H, W]; W is at least the largest grid.
        grids: least numbers of squares in a row.

    Returns:
        [B, n], all sums of all grids in one row.
    """
    height, width = features.shape[-2:]
    features = features.relu()
    if height != width:
        side = max(height, width)
        features = F.interpolate(features, size=(side, side), mode="bilinear", align_corners=False)
    sums = []
    for grid in grids:
        squares = F.avg_pool2d(features, max(width // grid, 1))
        sums += [squares.sum(dim=-2).flatten(1), squares.sum(dim=-1).flatten(1)]
    return torch.cat(sums, dim=1)


class RepresentationCompensation(nn.Module):
    """Smooth L1 between what the frozen and the tuned tower see in regions of several sizes (MAFT+, Eqs. 2 to 4).

    Args:
        type: 'paper' is the sum over the grids of the mean over all :func:`grid_means`; 'published' is the mean over
            the :func:`pooled_sums` of all grids together, as published checkpoints were trained.
        grids: regions along a side.
        weight: of the loss.

    Raises:
        ValueError: on another type, or grids that are none.
    """

    def __init__(self, type: str = "paper", grids: Sequence[int] = (1, 2, 4), weight: float = 0.1) -> None:
        super().__init__()
        if type not in FORMS:
            raise ValueError(f"rc.type must be one of {', '.join(FORMS)}, not {type!r}")
        if not grids or any(grid < 1 for grid in grids):
            raise ValueError(f"rc.grids must be positive numbers of regions, not {tuple(grids)}")
        self.form = type
        self.grids = tuple(grids)
        self.weight = weight

    def forward(self, tuned: Tensor, frozen: Tensor) -> Tensor:
        """Maps of the tuned and of the frozen tower [B, C, H, W] -> the weighted loss, a scalar."""
        with torch.autocast(tuned.device.type, enabled=False):
            tuned, frozen = tuned.float(), frozen.float().detach()
            if self.form == "published":
                return self.weight * F.smooth_l1_loss(pooled_sums(tuned, self.grids), pooled_sums(frozen, self.grids))
            losses = [F.smooth_l1_loss(grid_means(tuned, grid), grid_means(frozen, grid)) for grid in self.grids]
            return self.weight * torch.stack(losses).sum()
