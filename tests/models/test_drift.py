"""The drift of the hyperspherical energy."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from hclip_mmseg.adapters import hyperspherical_energy
from hclip_mmseg.models.backbones.drift import energy_drift_by_tower


def test_a_rise_and_a_fall_of_the_energy_do_not_cancel():
    torch.manual_seed(0)
    one, other = torch.randn(8, 8), torch.randn(8, 8).abs()
    attention = SimpleNamespace(in_proj_weight=torch.cat([one, other, one]), out_proj=SimpleNamespace(weight=one))
    adapted = {"q": other, "k": one}
    backbone = SimpleNamespace(
        attentions=lambda tower: [attention],
        adapter=SimpleNamespace(
            towers=("text",), adapted_weight=lambda tower, layer, name, weight: adapted.get(name, weight)
        ),
    )
    energies = [float(hyperspherical_energy(weight, 0)) for weight in (one, other)]  # of rows
    changes = [energies[1] / energies[0] - 1, energies[0] / energies[1] - 1]
    assert changes[0] * changes[1] < 0
    expected = (abs(changes[0]) + abs(changes[1])) / 4  # two of four projections
    assert energy_drift_by_tower(backbone) == {"text": pytest.approx(expected, rel=1e-4)}


def test_turning_out_on_its_output_side_changes_the_energy_of_its_rows_and_keeps_that_of_its_columns():
    torch.manual_seed(0)
    turn, weight = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0], torch.randn(8, 12, dtype=torch.float64)
    attention = SimpleNamespace(in_proj_weight=torch.cat([weight] * 3), out_proj=SimpleNamespace(weight=weight))
    backbone = SimpleNamespace(
        attentions=lambda tower: [attention],
        adapter=SimpleNamespace(
            towers=("text",),
            adapted_weight=lambda tower, layer, name, weight: turn @ weight if name == "out" else weight,
        ),
    )
    assert energy_drift_by_tower(backbone)["text"] < 1e-12
    rows = [sum(float(1 / (a - b).norm()) for i, a in enumerate(unit) for j, b in enumerate(unit) if i != j)
            for unit in (w / w.norm(dim=1, keepdim=True) for w in (weight, turn @ weight))]  # fmt: skip
    changed = abs(rows[1] / rows[0] - 1) / 4  # of four projections
    assert changed > 1e-4
    assert energy_drift_by_tower(backbone, axis=0)["text"] == pytest.approx(changed, rel=1e-9)
