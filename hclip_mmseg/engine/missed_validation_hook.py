"""Validations that a kill cut off."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmseg.registry import HOOKS

from hclip_mmseg.files.writing import write_whole

DONE = "last_validation"
"""The file in a run's folder that says after how many iterations or epochs the last finished validation was."""


@HOOKS.register_module()
class MissedValidationHook(Hook):
    """Makes up for a validation that was due at the checkpoint which a run goes on from, and did not finish.

    Training loops validate right after they have saved, and go on with training when they are resumed.
    """

    priority = "LOWEST"  # when the other hooks have noted their results

    def before_train(self, runner: Runner) -> None:
        """Validate where a resumed run should have."""
        done = Path(runner.work_dir) / DONE
        if not runner.iter:  # a new run, maybe in an old folder
            if is_main_process():
                done.unlink(missing_ok=True)
            return
        if runner.val_loop is not None and is_due(runner) and _read(done) != progress(runner):
            runner.logger.info(f"Validating after {progress(runner)}, which was cut off before")
            runner.val_loop.run()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Note that a validation is finished."""
        if is_main_process() and runner.iter:
            write_whole(Path(runner.work_dir) / DONE, f"{progress(runner)}\n")


def progress(runner: Runner) -> str:
    """How far a training is, such as '400 iterations' or '2 epochs'."""
    loop = runner.train_loop
    return f"{loop.epoch} epochs" if isinstance(loop, EpochBasedTrainLoop) else f"{loop.iter} iterations"


def is_due(runner: Runner) -> bool:
    """Whether the training loop validates at the point where it is."""
    loop = runner.train_loop
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    step, last = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
    interval = loop.val_interval
    for milestone, changed in zip(loop.dynamic_milestones, loop.dynamic_intervals, strict=True):
        interval = changed if step >= milestone else interval
    return step >= loop.val_begin and (step % interval == 0 or step == last)


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None
