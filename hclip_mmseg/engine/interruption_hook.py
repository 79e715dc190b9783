"""Ending a training on request, with a checkpoint."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import FlexibleRunner, Runner
from torch.utils.data import DataLoader

from hclip_mmseg.files.processes import deaf_to_groups, end_by_parent_alone
from hclip_mmseg.files.run_folders import find_latest


class InterruptedTraining(Exception):  # noqa: N818  (no error: it was asked for)
    """Raised where a training ends because it was asked to, once its checkpoint is written."""


class Request:
    """Whether this process was asked to end, by Ctrl-C or by the signal TERM.

    Attributes:
        made: whether it was.
        waits: whether the training ends itself when it can save; else a signal ends it where it is.
    """

    def __init__(self) -> None:
        self.made = self.waits = False
        self._owner = os.getpid()

    @contextmanager
    def heard(self) -> Iterator[Request]:
        """While the block runs these signals are noted; a second one, or one that nobody waits for, interrupts it."""
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a data loader's process, which Ctrl-C reaches too; its parent ends it
            return
        if self.made or not self.waits:
            raise KeyboardInterrupt
        self.made = True


def keep_loading(runner: Runner | FlexibleRunner) -> None:
    """Let the processes of the data loaders that a runner builds outlive a signal TERM to the whole group.

    The iteration in which a training is asked to end needs them still.
    """
    build = runner.build_dataloader

    def build_dataloader(*args: Any, **kwargs: Any) -> DataLoader[Any]:
        loader = build(*args, **kwargs)
        if loader.num_workers:
            loader.multiprocessing_context = deaf_to_groups(loader.multiprocessing_context)
        loader.worker_init_fn = partial(begin_worker, loader.worker_init_fn)
        return loader

    runner.build_dataloader = build_dataloader


def begin_worker(begin: Callable[[int], None] | None, worker: int) -> None:
    """What a data loader's process does first: what it was to do, and hearing its parent alone from then on."""
    end_by_parent_alone()
    if begin is not None:
        begin(worker)


class InterruptionHook(Hook):
    """Saves a checkpoint and ends the training after the iteration in which it was asked to.

    Of several processes any may have been asked; they agree about it every few iterations.

    Args:
        request: what was asked of this process.
        interval: iterations after which several processes ask each other.
    """

    priority = "LOWEST"  # after the hook that saves on its own schedule

    def __init__(self, request: Request, interval: int = 10) -> None:
        self.request, self.interval = request, interval

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """From now on there is something to save."""
        self.request.waits = True

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Save and end, if it was asked for.

        Raises:
            InterruptedTraining: where the training stands and how it goes on.
        """
        if get_world_size() > 1 and not self.every_n_train_iters(runner, self.interval):
            return
        if self.is_asked(runner):
            save_now(runner)
            raise InterruptedTraining(standing(runner, runner.iter + 1))

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """End a validation at once; the run that goes on makes up for it.

        Raises:
            InterruptedTraining: as above; the checkpoint was saved before the validation, or is an earlier one.
        """
        if get_world_size() == 1 and self.request.made:
            raise InterruptedTraining(standing(runner, runner.iter))

    def is_asked(self, runner: Runner) -> bool:
        """Whether any of the processes was asked to end."""
        if get_world_size() == 1:
            return self.request.made
        asked = torch.tensor(float(self.request.made), device=next(runner.model.parameters()).device)
        all_reduce(asked, "max")
        return bool(asked)


def save_now(runner: Runner) -> None:
    """Save a checkpoint of this iteration, unless the run's own hook just did."""
    saver = next((hook for hook in runner.hooks if hasattr(hook, "save_now")), None)
    if saver is not None:
        saver.save_now(runner)


def standing(runner: Runner, iterations: int) -> str:
    """Where an interrupted training stands, and how it goes on, in one line."""
    latest = find_latest(runner.work_dir)
    kept = f"its checkpoint is {latest}; go on with --resume" if latest else "it has no checkpoint yet"
    return f"stopped after {iterations} iterations; {kept}"

