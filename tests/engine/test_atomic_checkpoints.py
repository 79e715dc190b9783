"""Checkpoints of runs that end at the worst moments."""

from __future__ import annotations

import os

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.runner import Runner, find_latest_checkpoint
from test_hooks import run_config, weights

SAVING = dict(type="AtomicCheckpointHook", by_epoch=False, interval=1)


class Killed(BaseException):
    """Stands for a signal that leaves no time for anything."""


def config(tmp_path, iterations, keep):
    made = run_config(tmp_path / "run", iterations=iterations, experiment_name=f"{tmp_path.name} {iterations}")
    made.default_hooks.checkpoint = dict(SAVING, max_keep_ckpts=keep)
    return made


def load(path):
    return torch.load(path, map_location="cpu", weights_only=False)


def kill_at(monkeypatch, moment: str) -> None:
    """Ends the run while it saves iteration 3, or before it removes a checkpoint for the first time."""
    put, replace, unlink = LocalBackend.put, os.replace, os.unlink

    def cut_off(self, data, path):
        if moment == "writing" and "iter_3" in str(path):
            put(self, data[: len(data) // 2], path)
            raise Killed
        put(self, data, path)

    def moved(source, target):
        if (moment == "before moving" and "iter_3" in str(target)) or (
            moment == "before pointing" and str(target).endswith("last_checkpoint") and "iter_3" in source.read_text()
        ):
            raise Killed
        replace(source, target)

    def removed(path, **options):
        if moment == "before removing" and str(path).endswith(".pth"):
            raise Killed
        unlink(path, **options)

    monkeypatch.setattr(LocalBackend, "put", cut_off)
    monkeypatch.setattr(os, "replace", moved)
    monkeypatch.setattr(os, "unlink", removed)


@pytest.mark.parametrize(
    "moment, keep",
    [("writing", 1), ("before moving", 1), ("before pointing", 1), ("before removing", 1), ("writing", 2)],
)
def test_a_whole_checkpoint_is_left_at_any_moment(tmp_path, moment, keep):
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, moment)
        with pytest.raises(Killed):
            Runner.from_cfg(config(tmp_path, 4, keep)).train()
    latest = find_latest_checkpoint(str(tmp_path / "run"))
    assert latest.endswith("iter_2.pth")
    for path in (tmp_path / "run").glob("iter_*.pth"):
        assert load(path)["meta"]["iter"] == int(path.stem[5:]), "what has a checkpoint's name is whole"
    resumed = config(tmp_path, 4, keep)
    resumed.resume, resumed.experiment_name = True, f"{tmp_path.name} resumed"
    Runner.from_cfg(resumed).train()
    assert load(tmp_path / "run/iter_4.pth")["meta"]["iter"] == 4
    assert not list((tmp_path / "run").glob("*.partial"))


def test_the_oldest_go_and_the_newest_is_pointed_at(tmp_path):
    runner = Runner.from_cfg(config(tmp_path, 4, 2))
    runner.train()
    assert {path.name for path in (tmp_path / "run").glob("iter_*")} == {"iter_3.pth", "iter_4.pth"}
    saved = load(find_latest_checkpoint(str(tmp_path / "run")))
    assert saved["meta"]["iter"] == 4
    assert all(torch.equal(saved["state_dict"][name], value) for name, value in weights(runner).items())
