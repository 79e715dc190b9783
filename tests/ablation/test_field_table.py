"""All methods of the field on the scenes: which combinations are chosen, and the table."""

from __future__ import annotations

import statistics

import pytest
import torch
from scipy import stats

from hclip_mmseg.ablation import field
from hclip_mmseg.ablation.field import Measured, chosen_combinations, compare_methods, interval


def test_the_best_attention_of_every_part_is_chosen_the_best_of_all_first():
    miou = {name: float(place % 7) for place, name in enumerate(field.COMBINATIONS)}
    wanted = {"NACLIP + PAMR": 20.0, "SCLIP + SCGA": 30.0}
    choice = {name: Measured({"clear": [value], "hazy": [value + 2]}) for name, value in (miou | wanted).items()}
    chosen = chosen_combinations(choice)
    assert chosen[:2] == ["SCLIP + SCGA", "NACLIP + PAMR"]
    assert sorted(name.split(" + ")[1] for name in chosen) == sorted(field.PARTS)
    for name in chosen:
        of_part = [other for other in choice if other.split(" + ")[1] == name.split(" + ")[1]]
        assert choice[name].mean() == max(choice[other].mean() for other in of_part)


def test_no_scenes_are_reported_that_were_chosen_by():
    assert not set(field.SERIES) & set(field.CHOICE_SERIES)


def test_the_interval_is_students():
    values = [40.0, 43.0, 41.5]
    low, high = stats.t.interval(0.95, 2, loc=statistics.mean(values), scale=stats.sem(values))
    assert interval(values) == pytest.approx((high - low) / 2)
    assert interval([1.0]) == float("inf")


def test_the_table_has_methods_and_chosen_combinations(monkeypatch):
    combinations = {f"NACLIP + {part}": {"backbone.attention": "naclip", **field.PARTS[part]} for part in
                    ("regions by colour", "absent names left out")}  # fmt: skip
    monkeypatch.setattr(field, "ATTENTIONS", {"NACLIP": "naclip"})
    monkeypatch.setattr(
        field, "PARTS", {part: field.PARTS[part] for part in ("regions by colour", "absent names left out")}
    )
    monkeypatch.setattr(field, "COMBINATIONS", combinations)
    monkeypatch.setattr(field, "SERIES", field.SERIES[:2])
    monkeypatch.setattr(field, "METHODS", {name: field.METHODS[name] for name in ("CLIP", "CorrCLIP")})
    text = compare_methods(1, 1, "cpu")
    rows = [line.split(" | ") for line in text.splitlines() if " ± " in line and line.startswith("| ")]
    assert {cells[0] for cells in rows} == {"| CLIP", "| CorrCLIP", *(f"| {name}" for name in combinations)}
    assert all(0 <= float(part) <= 100 for cells in rows for cell in cells[1:3] for part in cell.split(" ± ")[:1])
    assert "| attention | regions by colour | absent names left out |" in text
    assert "less the best published method here, " in text


@torch.no_grad()
def test_scenes_of_all_series_share_a_folder_of_regions(tmp_path):
    field.build_model(field.launch.read_config(field.CONFIG))  # which registers the scenes
    looks = [field.Scenes(condition, series, 1, tmp_path) for series in (0, 1) for condition in field.HAZE]
    names = [sample["data_samples"].img_path for shown in looks for sample in shown.samples]
    assert len(set(names)) == 4 and sorted(names) == sorted(path.name for path in tmp_path.iterdir())


def test_no_scenes_are_refused():
    with pytest.raises(ValueError, match="--choice-scenes must be at least 1"):
        compare_methods(1, 0)
