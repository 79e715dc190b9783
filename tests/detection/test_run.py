"""Training, resuming, several processes and evaluation of the OV-COCO config, from the command line."""

from __future__ import annotations

import json
import re
import runpy
import sys

import pytest
import torch

pytest.importorskip("mmdet", reason="MMDetection is not installed")

from miniature_coco import write_coco
from mmengine.config import Config
from mmengine.runner import Runner
from processes import torchrun
from tiny_detectors import detector_config

from hclip_mmseg.datasets.preparation.ov_coco import prepare_ov_coco


@pytest.fixture(scope="module")
def config(tmp_path_factory, repository):
    """The H-CLIP config of OV-COCO on a random tiny CLIP, small images and the miniature COCO; two epochs."""
    root = write_coco(tmp_path_factory.mktemp("data") / "coco")
    prepare_ov_coco(root)
    cfg = Config.fromfile(repository / "configs/detection/hclip_vitb16_ov-coco.py")
    tiny = detector_config()
    cfg.model = dict(tiny, roi_head=dict(tiny["roi_head"], base_names=cfg.model.roi_head.base_names))
    cfg.model.test_cfg = dict(  # of so little training something is found only where nearly everything is kept
        rpn=dict(tiny["test_cfg"]["rpn"], max_per_img=100),
        rcnn=dict(tiny["test_cfg"]["rcnn"], score_thr=0.0, max_per_img=3000),
    )
    sizes = dict(RandomCrop=dict(crop_size=(64, 64)), Pad=dict(size=(64, 64)))
    sizes |= {kind: dict(scale=(64, 64)) for kind in ("RandomResize", "Resize")}
    cfg.train_dataloader.batch_size = 2
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(root)
        for step in loader.dataset.pipeline:
            step.update(sizes.get(step.type, {}))
    cfg.train_cfg.max_epochs = 2
    cfg.param_scheduler[0].end = 2
    cfg.default_hooks.logger.interval = 1
    path = tmp_path_factory.mktemp("config") / "tiny.py"
    cfg.dump(path)
    return path


def weights_of(path):
    return torch.load(path, map_location="cpu", weights_only=False)["state_dict"]


def train(config, work_dir, epochs, **changes):
    cfg = Config.fromfile(config)
    cfg.merge_from_dict({"work_dir": str(work_dir), "train_cfg.max_epochs": epochs, **changes})
    cfg.experiment_name = f"{work_dir.parent.name} {work_dir.name} {epochs}"
    Runner.from_cfg(cfg).train()


def log_of(work_dir) -> str:
    (log,) = (log for log in work_dir.glob("*/*.log") if log.name != "setup.log")
    return log.read_text()


def log_results(work_dir) -> list[dict[str, str]]:
    """AP50 by group, for every evaluation in a run's log."""
    lines = [line for line in log_of(work_dir).splitlines() if "AP50_all:" in line]
    return [dict(re.findall(r"(AP50_\w+): (\S+)", line)) for line in lines]


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(config, folder, 2)
    return folder


def test_trains_evaluates_and_saves(whole):
    results = log_results(whole)
    assert len(results) == 2 and set(results[0]) == {"AP50_novel", "AP50_base", "AP50_all"}
    row = next(line for line in log_of(whole).splitlines() if line.count("│") == 6)
    assert [cell.strip() for cell in row.split("│")[4:6]] == ["25.1", "42.9"], "the paper's, beside"
    first, second = (weights_of(whole / f"epoch_{epoch}.pth") for epoch in (1, 2))
    changed = {name for name in first if not torch.equal(first[name], second[name])}
    assert {"backbone.adapter.tensor", "roi_head.bbox_head.log_temperature", "neck.0.scales.1.weight"} <= changed
    assert not any("in_proj_weight" in name for name in changed), "CLIP's own projections stay frozen"


def test_the_rate_follows_the_batch(whole):
    """1e-4 is for batches of 64, and these are of 2; CLIP's own part has a fiftieth."""
    state = torch.load(whole / "epoch_1.pth", map_location="cpu", weights_only=False)
    rates = {group["initial_lr"] for group in state["optimizer"]["param_groups"]}
    assert sorted(rates) == pytest.approx([1e-4 * 2 / 64 / 50, 1e-4 * 2 / 64])


def test_resuming_is_no_interruption(whole, config, tmp_path):
    train(config, tmp_path / "parts", 1)
    train(config, tmp_path / "parts", 2, resume=True)
    parts, expected = weights_of(tmp_path / "parts/epoch_2.pth"), weights_of(whole / "epoch_2.pth")
    assert all(torch.equal(parts[name], expected[name]) for name in expected)


def test_two_processes_train_alike_and_evaluate_as_one(config, repository, tmp_path, monkeypatch):
    options = ("--cfg-options", "train_cfg.max_epochs=1", "train_dataloader.batch_size=1")
    two = tmp_path / "two"
    torchrun(2, repository / "tools/train.py", config, "--work-dir", two, *options, cwd=tmp_path)
    assert json.loads((two / "run.json").read_text())["processes"] == 2
    checkpoint = two / "epoch_1.pth"
    state = torch.load(checkpoint, map_location="cpu", weights_only=False)
    assert state["meta"]["iter"] == 3, "six images in batches of two"

    folders = {name: tmp_path / name for name in ("work-dir", "out", "show-dir")}
    script = str(repository / "tools/test.py")
    arguments = [part for name, folder in folders.items() for part in (f"--{name}", str(folder))]
    arguments += ["--cfg-options", "visualizer.name=shown"]  # a process keeps one of each name, with its first folder
    monkeypatch.setattr(sys, "argv", [script, str(config), str(checkpoint), *arguments])
    runpy.run_path(script, run_name="__main__")
    assert log_results(folders["work-dir"]) == log_results(two) != []
    assert len(list(folders["show-dir"].rglob("*.png"))) == 4
    written = sorted(folders["out"].iterdir())
    assert [path.name for path in written] == [f"{index:012d}.json" for index in range(4)]
    assert {tuple(one) for path in written for one in json.loads(path.read_text())} == {("word", "score", "box")}
