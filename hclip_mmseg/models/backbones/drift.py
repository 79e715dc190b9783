"""How far adapters have moved the towers in hyperspherical space."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import torch

from hclip_mmseg.adapters import PROJECTIONS, SIDES, hyperspherical_energy, kept_axis, orthogonality_error
from hclip_mmseg.adapters.energy import Axis


@torch.no_grad()
def orthogonality_by_tower(backbone: Any) -> dict[str, float]:
    """Largest |R^T R - I| of the turns of each tower that POP adapts."""
    return {tower: float(orthogonality_error(backbone.adapter.turns(tower))) for tower in backbone.adapter.towers}


@torch.no_grad()
def energy_drift_by_tower(backbone: Any, axis: Axis | None = None) -> dict[str, float]:
    """Mean size of the relative change of the hyperspherical energy of the projections of each tower.

    Whatever the adapter; a rise and a fall do not cancel.

    Towers that POP leaves out are left out.

    Args:
        backbone: an ``HCLIPBackbone`` with an adapter.
        axis: 0, the neurons are the rows of every projection, as the papers define the energy; 1, its columns. None:
            those whose energy an orthogonal turn keeps (docs/hclip.md): rows of q, k and v, columns of out; where
            POP turns a projection on another side, that side's. With None the drift tells how far blocks are from
            orthogonal, and does not see that turning out on its output side changes the energy of its rows.
    """
    sides = getattr(backbone.adapter, "sides", SIDES)
    drift = {}
    for tower in getattr(backbone.adapter, "towers", ("image", "text")):
        changes = []
        for layer, attention in enumerate(backbone.attentions(tower)):
            weights = [*attention.in_proj_weight.chunk(3), attention.out_proj.weight]
            for projection, weight in zip(PROJECTIONS, weights, strict=True):
                neurons = kept_axis(sides[projection]) if axis is None else axis
                adapted = backbone.adapter.adapted_weight(tower, layer, projection, weight)
                before, after = (hyperspherical_energy(each, neurons) for each in (weight, adapted))
                changes.append(abs(float(after / before) - 1))
        drift[tower] = fmean(changes)
    return drift
