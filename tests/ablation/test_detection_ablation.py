"""The detection table of tools/ablate.py: its rows are the configs', and it is reported in AP50."""

from __future__ import annotations

import pytest

pytest.importorskip("mmdet", reason="MMDetection is not installed")

from mmengine.config import Config

from hclip_mmseg.ablation import report
from hclip_mmseg.ablation.jobs import Job, Settings, job_config
from hclip_mmseg.ablation.metric import Metric


@pytest.fixture
def table(repository, monkeypatch):
    monkeypatch.chdir(repository)
    return Config.fromfile("configs/ablation/detection_tiny_scenes.py")


def test_rows_are_the_configs_of_that_name(table, tmp_path):
    assert set(table.rows) == {"frozen", "lora", "hclip"}
    for row in table.rows:
        cfg = job_config(table, Job(row, 2), Settings(tmp_path))
        alone = Config.fromfile(f"configs/detection/{row}_tiny_scenes.py")
        assert cfg.model.to_dict() == alone.model.to_dict()
        assert cfg.optim_wrapper.to_dict() == alone.optim_wrapper.to_dict()
        assert cfg.randomness.seed == 2
    searched = job_config(table, Job("hclip", 0, 0.3, search=True), Settings(tmp_path))
    assert searched.val_dataloader.dataset.get("seed", 0) != alone.val_dataloader.dataset.get("seed", 0)


def test_ap50_of_training_and_held_out_names_is_reported(table, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "plot", lambda *arguments: None)
    metric = Metric.of(table)

    def run(seed, novel):
        metrics = dict(AP50_base=70.0 + seed, AP50_novel=novel, AP50_all=60.0)
        return dict(
            seed=seed, metrics=metrics, step_seconds=1.0, peak_memory=2**30, energy_drift=dict(image=0.0, text=0.0)
        )

    facts = {row: dict(title=own.title, trained=0, free=0) for row, own in table.rows.items()}
    for row, own in table.rows.items():
        facts[row]["paper"] = Config.fromfile(own.config).paper.to_dict()
    results = {"hclip": [run(0, 52.0), run(1, 54.0)], "frozen": [run(0, 41.0), run(1, 43.0)]}
    text = report.write_report(tmp_path, facts, table.claims, results, {}, metric)
    assert "AP50 in percent" in text and "mIoU" not in text
    (row,) = [line for line in text.splitlines() if line.startswith("| H-CLIP |")]
    assert "| 70.5 ± 0.7 | 53.0 ± 1.4 |" in row and row.endswith("| 25.1 |"), "the paper's AP50 of novel names"
    assert "| H-CLIP above frozen CLIP | 11.0 ± 0.0 | 2 | holds |" in text
