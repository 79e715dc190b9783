"""A training that is hit by a signal at any moment goes on, and ends bit for bit as one that nothing hit."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import torch
from miniature import write_tiny_config
from mmengine.config import Config
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmseg.registry import HOOKS
from processes import Forked
from test_resume import assert_equal

from hclip_mmseg.apis.train import train
from hclip_mmseg.files.run_folders import find_latest

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA does not survive a fork")

LORA_WITH_DROPOUT = """
_base_ = ["./tiny.py"]
model = dict(backbone=dict(adapter=dict(_delete_=True, type="LoRA", rank=4, drop_rate=0.5)))
train_cfg = dict(max_iters=6, val_interval=3)
train_dataloader = dict(num_workers=1, persistent_workers=True)
val_dataloader = _base_.test_dataloader
val_evaluator = _base_.test_evaluator
val_cfg = dict(type="ValLoop")
default_hooks = dict(
    checkpoint=dict(interval=2, max_keep_ckpts=2, save_best="mIoU"),
    iteration_seed=dict(type="IterationSeedHook"),
    missed_validation=dict(type="MissedValidationHook"),
)
"""


@HOOKS.register_module(force=True)
class Signal(Hook):
    """Sends the process a signal once, at a moment of its training."""

    priority = "HIGHEST"

    def __init__(self, moment: str, number: int) -> None:
        self.moment, self.number = moment, number

    def send(self, moment: str) -> None:
        if moment == self.moment:
            self.moment = ""
            os.kill(os.getpid(), self.number)

    def before_train(self, runner) -> None:
        self.send("before the training")
        put, replace = LocalBackend.put, os.replace

        def put_in_two_parts(backend, data, path):
            put(backend, data[: len(data) // 2], path)
            if "iter_4" in str(path):
                self.send("while it saves")
            put(backend, data, path)

        def signal_and_replace(source, target):
            if str(target).endswith("last_checkpoint") and "iter_4" in Path(source).read_text():
                self.send("before it points at what it saved")
            replace(source, target)

        LocalBackend.put, os.replace = put_in_two_parts, signal_and_replace

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == 3:
            self.send("while it trains")

    def before_val_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == 6:
            self.send("while it validates at its end")


@pytest.fixture(scope="module")
def config(tmp_path_factory, coco_stuff):
    folder = tmp_path_factory.mktemp("config")
    write_tiny_config(folder / "tiny.py", coco_stuff)
    (folder / "dropout.py").write_text(LORA_WITH_DROPOUT)
    return folder / "dropout.py"


def run(config: Path, work_dir: Path, moment: str = "", number: int = 0, resume: str | None = None) -> tuple[int, str]:
    """Train in a process of its own; its exit code, and what it printed."""
    name = f"{work_dir.name} {time.monotonic_ns()}"

    def work() -> None:
        cfg = Config.fromfile(config)
        cfg.work_dir, cfg.launcher, cfg.experiment_name = str(work_dir), "none", name
        cfg.custom_hooks = [*cfg.custom_hooks, dict(type="Signal", moment=moment, number=number)]
        train(cfg, resume)

    log = work_dir.with_name(f"{name}.txt")
    return Forked(work, log).wait(), log.read_text()


def end_of(work_dir: Path) -> dict:
    saved = torch.load(work_dir / "iter_6.pth", map_location="cpu", weights_only=False)
    losses = saved["message_hub"]["log_scalars"]["train/loss"]
    return dict(
        weights=saved["state_dict"], optimizer=saved["optimizer"], losses=list(losses.data[0]),
        best=saved["message_hub"]["runtime_info"].get("best_score"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("whole") / "run"
    code, printed = run(config, work_dir)
    assert code == 0, printed[-3000:]
    assert "A resumed run will not equal" not in printed
    found = end_of(work_dir)
    assert len(set(found["losses"])) == 6
    return found


@pytest.mark.parametrize(
    "number, moment, left",
    [  # iteration 3 is saved too, since its validation is the best so far
        (signal.SIGKILL, "before the training", None),
        (signal.SIGKILL, "while it trains", "iter_3.pth"),
        (signal.SIGKILL, "while it saves", "iter_3.pth"),
        (signal.SIGKILL, "before it points at what it saved", "iter_4.pth"),
        (signal.SIGKILL, "while it validates at its end", "iter_6.pth"),
        (signal.SIGINT, "before the training", None),
        (signal.SIGINT, "while it trains", "iter_4.pth"),
        (signal.SIGTERM, "while it saves", "iter_4.pth"),
        (signal.SIGTERM, "while it validates at its end", "iter_6.pth"),
    ],
)
def test_it_goes_on_and_ends_the_same(config, whole, tmp_path, number, moment, left):
    code, printed = run(config, tmp_path / "run", moment, number)
    latest = find_latest(tmp_path / "run")
    assert (latest.name if latest else None) == left
    if number == signal.SIGKILL:
        assert code == -number, printed[-3000:]
    else:
        assert code == 130, printed[-3000:]
        assert "Traceback" not in printed
        assert printed.splitlines()[-1].startswith(f"stopped after {left[5] if left else 0} iterations; ")
    (tmp_path / "run").rename(tmp_path / "moved")
    code, printed = run(config, tmp_path / "moved", resume="latest")
    assert code == 0, printed[-3000:]
    assert printed.startswith("nothing to resume in ") == (left is None)
    assert_equal(end_of(tmp_path / "moved"), whole)
    assert (tmp_path / "moved/last_validation").read_text() == "6 iterations\n"
    names = {path.name for path in (tmp_path / "moved").iterdir()}
    assert {"iter_4.pth", "iter_6.pth"} == {name for name in names if name.startswith("iter_")}
    assert len([name for name in names if name.startswith("best_")]) == 1
    assert not (tmp_path / "run").exists()
