"""Trainings that are stopped and go on: validations that are made up for, signals, and what is said of them."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from miniature import write_tiny_config
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from processes import run_as_main, run_script, start
from torch.utils.data import DataLoader

from hclip_mmseg.apis.train import choose_start, read_start, what_a_repeated_run_lacks, written_over
from hclip_mmseg.engine.interruption_hook import Request, keep_loading
from hclip_mmseg.engine.iteration_seed_hook import IterationSeedHook
from hclip_mmseg.files.run_folders import find_latest

VALIDATES = """
_base_ = ["./tiny.py"]
train_cfg = dict(max_iters=4, val_interval=2)
val_dataloader = _base_.test_dataloader
val_evaluator = _base_.test_evaluator
val_cfg = dict(type="ValLoop")
default_hooks = dict(checkpoint=dict(interval=2), missed_validation=dict(type="MissedValidationHook"))
"""


@pytest.fixture
def config(tmp_path, coco_stuff):
    write_tiny_config(tmp_path / "tiny.py", coco_stuff)
    path = tmp_path / "validates.py"
    path.write_text(VALIDATES)
    return path


class CutOffError(Exception):
    pass


@HOOKS.register_module(force=True)
class CutOffValidation(Hook):
    """Ends a run in its validation after an iteration, as a kill would, and counts the validations."""

    def __init__(self, after: int = -1) -> None:
        self.after = after
        self.validated: list[int] = []

    def before_val_epoch(self, runner):
        if runner.iter == self.after:
            raise CutOffError
        self.validated.append(runner.iter)


def train(config, work_dir, after=-1, **changes) -> list[int]:
    cfg = Config.fromfile(config)
    cfg.merge_from_dict({"work_dir": str(work_dir), **changes})
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type="CutOffValidation", after=after)]
    cfg.experiment_name = f"{work_dir.parent.name} {work_dir.name} {after} {len(changes)} {time.monotonic_ns()}"
    runner = Runner.from_cfg(cfg)
    counter = next(hook for hook in runner.hooks if isinstance(hook, CutOffValidation))
    try:
        runner.train()
    except CutOffError:
        assert after >= 0
    return counter.validated


@pytest.mark.parametrize("after, made_up", [(2, [2, 4]), (4, [4])])
def test_a_validation_that_was_cut_off_is_made_up_for(config, tmp_path, after, made_up):
    train(config, tmp_path / "run", after)
    latest = str(find_latest(tmp_path / "run"))
    assert latest.endswith(f"iter_{after}.pth")
    assert train(config, tmp_path / "run", resume=True, load_from=latest) == made_up
    latest = str(find_latest(tmp_path / "run"))
    assert train(config, tmp_path / "run", resume=True, load_from=latest) == [], "nothing is evaluated twice"
    assert train(config, tmp_path / "run") == [2, 4], "a new run in an old folder"


def test_a_made_up_validation_leaves_the_training_where_it_was(config, tmp_path):
    assert train(config, tmp_path / "whole") == [2, 4]
    train(config, tmp_path / "parts", 2)
    train(config, tmp_path / "parts", resume=True, load_from=str(find_latest(tmp_path / "parts")))
    whole, parts = (
        torch.load(tmp_path / name / "iter_4.pth", weights_only=False)["state_dict"] for name in ("whole", "parts")
    )
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


SLOW = """
_base_ = ["./tiny.py"]
custom_imports = dict(imports=["hclip_mmseg", "slow"], allow_failed_imports=False)
train_cfg = dict(max_iters=400)
train_dataloader = dict(num_workers=1, persistent_workers=True)
default_hooks = dict(checkpoint=dict(interval=300), logger=dict(interval=1))
custom_hooks = [*_base_.custom_hooks, dict(type="Slow")]
"""
SLOW_MODULE = """
import time
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

@HOOKS.register_module()
class Slow(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        time.sleep(0.05)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(coco_stuff, repository, tmp_path, number):
    write_tiny_config(tmp_path / "tiny.py", coco_stuff)
    (tmp_path / "slow_config.py").write_text(SLOW)
    (tmp_path / "slow.py").write_text(SLOW_MODULE)
    command = [str(repository / "tools/train.py"), str(tmp_path / "slow_config.py"), "--work-dir", "work"]
    log = tmp_path / "printed.txt"
    log.touch()
    run = start(partial(run_as_main, command, tmp_path), log, cwd=tmp_path)
    while "Iter(train) [  3/400]" not in log.read_text():
        assert run.poll() is None, log.read_text()[-3000:]
        time.sleep(0.05)
    os.killpg(run.pid, number)  # a terminal's Ctrl-C reaches the data loaders too
    assert run.wait() == 130
    text = log.read_text()
    assert "Traceback" not in text
    checkpoint = find_latest(tmp_path / "work")
    assert checkpoint is not None
    iterations = int(checkpoint.stem.removeprefix("iter_"))
    said = f"stopped after {iterations} iterations; its checkpoint is {checkpoint}; go on with --resume"
    assert text.splitlines()[-1] == said
    if number == signal.SIGINT:
        options = ("--cfg-options", f"train_cfg.max_iters={iterations + 1}")
        ended = run_script(*command, "--resume", *options, cwd=tmp_path, modules=tmp_path)
        assert ended.returncode == 0, ended.stderr[-2000:]
        assert json.loads((tmp_path / "work/run.json").read_text())["command"][-1] == options[-1]
        assert (tmp_path / f"work/iter_{iterations + 1}.pth").is_file()


def test_a_run_that_begins_anew_says_what_it_writes_over(tmp_path):
    assert written_over(tmp_path / "run") == ""
    (tmp_path / "iter_2.pth").touch()
    assert written_over(tmp_path).startswith(f"{tmp_path / 'iter_2.pth'} is of an earlier run: this one begins anew")


def test_a_second_signal_ends_at_once():
    with Request().heard() as request:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        request.waits = True
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        assert request.made
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)


@pytest.fixture
def threads():
    """Two of torch, which begins them in each process that is forked from this one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def begun_loader() -> tuple[Iterator[torch.Tensor], multiprocessing.Process]:
    """What a loader that keeps loading still gives after 0, of the numbers below 6, and its process."""
    others = multiprocessing.active_children()
    loader = DataLoader(range(6), num_workers=1, prefetch_factor=1)
    keep_loading(runner := SimpleNamespace(build_dataloader=lambda: loader))
    numbers = iter(runner.build_dataloader())
    assert int(next(numbers)) == 0
    (worker,) = (process for process in multiprocessing.active_children() if process not in others)
    return numbers, worker


def test_data_loaders_outlive_a_signal_to_the_whole_group(threads):
    numbers, worker = begun_loader()
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ()), "only the loader's process is deaf to it"
    subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)  # not by the parent itself
    assert list(map(int, numbers)) == [1, 2, 3, 4, 5]


def test_data_loaders_end_by_their_parent(threads):
    _numbers, worker = begun_loader()
    worker.terminate()
    worker.join(30)
    assert worker.exitcode == 0


def test_nothing_to_resume_is_said_first(coco_stuff, repository, tmp_path):
    config = write_tiny_config(tmp_path / "tiny.py", coco_stuff)
    options = ("--work-dir", "work", "--cfg-options", "train_cfg.max_iters=1")
    ended = run_script(repository / "tools/train.py", config, "--resume", *options, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.splitlines()[0] == (
        "nothing to resume in work: there is no checkpoint, so training starts anew"
    )


def test_a_config_may_ask_for_the_latest_checkpoint(tmp_path):
    (tmp_path / "iter_2.pth").write_bytes(b"x")
    with zipfile.ZipFile(tmp_path / "iter_4.pth", "w"):
        pass
    (tmp_path / "last_checkpoint").write_text("/elsewhere/iter_4.pth")
    cfg = Config(dict(work_dir=str(tmp_path), resume=True, load_from=None))
    assert choose_start(cfg, None) == cfg.load_from == str(tmp_path / "iter_4.pth")
    cfg = Config(dict(work_dir=str(tmp_path / "new"), resume=True, load_from=None))
    assert choose_start(cfg, None) is None and cfg.resume is False


@pytest.mark.parametrize("own, taken", [(None, 7), (3, 3)])
def test_a_run_without_a_seed_goes_on_with_its_checkpoints(tmp_path, own, taken):
    path = tmp_path / "iter_4.pth"
    weights = {"weight": torch.ones(1)}
    torch.save(dict(state_dict=weights, optimizer={}, message_hub={}, meta=dict(seed=7, iter=4)), path)
    cfg = Config(dict(resume=True, randomness=dict(seed=own, deterministic=True)))
    assert read_start(cfg, str(path)).state.keys() == weights.keys()
    assert cfg.randomness == dict(seed=taken, deterministic=True)


@pytest.mark.parametrize(
    "kinds, sampler, hooks, lacking",
    [
        (["SeedAugmentation", "RandomCrop"], "ReplayableSampler", [IterationSeedHook()], []),
        (["RandomCrop"], "ReplayableSampler", [IterationSeedHook()], ["RandomCrop draws new numbers"]),
        (["mmseg.SeedAugmentation", "RandomCrop"], "InfiniteSampler", [IterationSeedHook()], ["RandomCrop draws"]),
        (["Resize"], "InfiniteSampler", [], ["add iteration_seed="]),
    ],
)
def test_what_keeps_a_run_from_repeating_is_named(kinds, sampler, hooks, lacking):
    dataset = dict(type="ConcatDataset", datasets=[dict(pipeline=[dict(type=kind) for kind in kinds])])
    cfg = Config(dict(default_scope="mmseg", train_dataloader=dict(sampler=dict(type=sampler), dataset=dataset)))
    found = what_a_repeated_run_lacks(cfg, SimpleNamespace(hooks=hooks))
    assert len(found) == len(lacking) and all(map(str.startswith, found, lacking))
