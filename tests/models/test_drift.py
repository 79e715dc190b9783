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
