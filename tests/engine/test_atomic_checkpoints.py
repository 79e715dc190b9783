"""Checkpoints of runs that end at the worst moments."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmengine.runner import Runner, find_latest_checkpoint
from mmseg.registry import HOOKS, METRICS
from test_hooks import run_config, weights

from hclip_mmseg.engine.atomic_checkpoint_hook import DivergedTrainingError

SAVING = dict(type="AtomicCheckpointHook", by_epoch=False, interval=1)


class Killed(BaseException):
    """Stands for a signal that leaves no time for anything."""


def config(tmp_path, iterations, keep):
    made = run_config(tmp_path / "run", iterations=iterations, experiment_name=f"{tmp_path.name} {iterations}")
    made.default_hooks.checkpoint = dict(SAVING, max_keep_ckpts=keep)
    return made


def load(path):
    return torch.load(path, map_location="cpu", weights_only=False)


@HOOKS.register_module(force=True)
class Spoil(Hook):
    """Makes a weight no number after an iteration, and the loss with the next."""

    priority = "VERY_HIGH"

    def __init__(self, after: int, value: float) -> None:
        self.after, self.value = after, value

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.after:
            with torch.no_grad():
                dict(runner.model.named_parameters())["backbone.adapter.tensor"].view(-1)[0] = self.value


def kill_at(monkeypatch, moment: str) -> None:
    """Ends the run while it saves iteration 3, or before it removes a checkpoint for the first time."""
    put, replace, unlink = LocalBackend.put, os.replace, Path.unlink

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
    monkeypatch.setattr(Path, "unlink", removed)  # in Python 3.10 it does not call os.unlink by its name


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
    assert all(torch.equal(saved["state_dict"][name], value.cpu()) for name, value in weights(runner).items())


@pytest.mark.parametrize("value, interval, stopped, kept", [
    (float("nan"), 1, 3, "iter_2.pth"),  # before it is saved
    (float("inf"), 1, 3, "iter_2.pth"),
    (float("nan"), 100, 4, None),  # long before a checkpoint is due: at the first loss that shows it
])  # fmt: skip
def test_weights_that_are_no_numbers_end_the_run_unsaved(tmp_path, value, interval, stopped, kept):
    made = config(tmp_path, 6, 2)
    made.default_hooks.checkpoint.interval = interval
    made.custom_hooks = [*made.get("custom_hooks", []), dict(type="Spoil", after=3, value=value)]
    with pytest.raises(DivergedTrainingError, match="backbone.adapter.tensor holds|holds nan") as error:
        Runner.from_cfg(made).train()
    assert f"stopped in iteration {stopped}:" in str(error.value)
    assert (f"good checkpoint is {tmp_path / 'run' / kept}" if kept else "no checkpoint was written") in str(
        error.value
    )
    assert ("the loss was no number first in iteration 4" in str(error.value)) == (stopped == 4)
    assert not (tmp_path / "run/iter_3.pth").exists() and not list((tmp_path / "run").glob("*.partial"))


def test_a_wrapped_models_checkpoint_is_loaded_without_its_prefix(tmp_path):
    runner = Runner.from_cfg(config(tmp_path, 1, 1))
    expected = {name: torch.randn_like(value) if value.is_floating_point() else value
                for name, value in weights(runner).items()}  # fmt: skip
    torch.save({f"_orig_mod.{name}": value for name, value in expected.items()}, tmp_path / "bare.pth")
    runner.load_checkpoint(str(tmp_path / "bare.pth"))
    assert all(torch.equal(value, expected[name]) for name, value in weights(runner).items())


def best_config(work_dir, iterations, **checkpoint):
    """A run that validates after every iteration, and keeps the best model; the score is what `Scores` says."""
    made = run_config(work_dir, iterations=iterations, val_interval=1)
    made.experiment_name = f"{work_dir.parent.name} {work_dir.name} {iterations}"
    made.default_hooks.checkpoint = dict(SAVING, max_keep_ckpts=1, save_best="score", rule="greater", **checkpoint)
    made.val_evaluator = dict(type="Scores")
    return made


@METRICS.register_module(force=True)
class Scores(BaseMetric):
    """Better with every validation."""

    validations = 0

    def process(self, data_batch, data_samples) -> None:
        self.results.append(None)

    def compute_metrics(self, results):
        type(self).validations += 1
        return dict(score=float(self.validations))


def bests(folder):
    return sorted(path.name for path in folder.glob("best_*"))


def test_the_best_checkpoint_is_replaced_by_a_whole_one(tmp_path, monkeypatch):
    put = LocalBackend.put

    def cut_off(self, data, path):
        if "best_score_iter_3" in str(path):
            put(self, data[: len(data) // 2], path)
            raise Killed
        put(self, data, path)

    monkeypatch.setattr(LocalBackend, "put", cut_off)
    with pytest.raises(Killed):
        Runner.from_cfg(best_config(tmp_path / "run", 4)).train()
    assert "best_score_iter_2.pth" in bests(tmp_path / "run")
    assert "best_score_iter_3.pth" not in bests(tmp_path / "run")
    load(tmp_path / "run/best_score_iter_2.pth")


def test_a_copy_leaves_the_originals_best_checkpoint(tmp_path):
    Runner.from_cfg(best_config(tmp_path / "run", 2)).train()
    assert bests(tmp_path / "run") == ["best_score_iter_2.pth"]
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    copy = best_config(tmp_path / "copy", 3)
    copy.merge_from_dict(dict(resume=True, load_from=str(tmp_path / "copy/iter_2.pth")))
    Runner.from_cfg(copy).train()
    assert bests(tmp_path / "run") == ["best_score_iter_2.pth"]
    assert bests(tmp_path / "copy") == ["best_score_iter_3.pth"]
    assert {path.name for path in (tmp_path / "run").glob("iter_*")} == {"iter_2.pth"}


def test_several_best_checkpoints_are_kept_apart(tmp_path):
    made = best_config(tmp_path / "run", 2)
    made.default_hooks.checkpoint.update(save_best=["score", "low"], rule=["greater", "less"])
    made.val_evaluator = [dict(type="Scores"), dict(type="Rises")]
    Runner.from_cfg(made).train()
    assert bests(tmp_path / "run") == ["best_low_iter_1.pth", "best_score_iter_2.pth"]


@METRICS.register_module(force=True)
class Rises(Scores):
    """Worse with every validation where less is better."""

    validations = 0

    def compute_metrics(self, results):
        return dict(low=super().compute_metrics(results)["score"])
