"""Training a model from its config."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import FlexibleRunner, Runner

from hclip_mmseg.apis import checks, launch, record
from hclip_mmseg.apis.weights import PublishedCheckpointHook, read_weights
from hclip_mmseg.engine.atomic_checkpoint_hook import DivergedTrainingError
from hclip_mmseg.engine.interruption_hook import InterruptedTraining, InterruptionHook, Request, standing
from hclip_mmseg.files import checkpoints
from hclip_mmseg.files.paths import is_clone
from hclip_mmseg.files.run_folders import alone_in, find_latest


def train(cfg: Config, resume: str | None = None, *, mixed_precision: bool = False) -> None:
    """Train a model, alone in its folder; Ctrl-C and the signal TERM end it with a checkpoint and one line.

    Args:
        cfg, resume, mixed_precision: see `prepare_training`.

    Raises:
        SystemExit: with code 2 where anything is missing or wrong or the weights became NaN or Inf, 130 where it was
            asked to end.
    """
    request, runner = Request(), None
    with request.heard(), ExitStack() as folder:
        try:
            with launch.clear_errors():
                if launch.is_first_process():
                    folder.enter_context(alone_in(cfg.work_dir))
                runner = prepare_training(cfg, resume, mixed_precision=mixed_precision)
            runner.register_hook(InterruptionHook(request))
            with launch.run_errors():
                runner.train()
            runner.logger.info(ending(runner))
        except (InterruptedTraining, KeyboardInterrupt) as stopped:
            before = "stopped before the training began" if runner is None else standing(runner, runner.iter)
            print(str(stopped) or before, file=sys.stderr)
            raise SystemExit(130) from None
        except DivergedTrainingError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None


def ending(runner: Runner | FlexibleRunner) -> str:
    """What a finished training left, and what comes next: checkpoint, drawn images, the command that predicts."""
    checkpoint = find_latest(runner.work_dir)
    if checkpoint is None:
        return "training is done; it saved no checkpoint (default_hooks.checkpoint.interval is longer than the run)"
    images = Path(runner.log_dir) / "vis_data/vis_image"
    drawn = f"; images of its validations: {images}" if images.is_dir() else ""
    command = "python tools/predict.py" if is_clone() else "hclip-predict"
    return (
        f"training is done; checkpoint: {checkpoint}{drawn}; next: {command} IMAGE --vocab 'cat, grass' "
        f"--config {runner.cfg.filename} --checkpoint {checkpoint}"
    )


def prepare_training(
    cfg: Config, resume: str | None = None, *, mixed_precision: bool = False
) -> Runner | FlexibleRunner:
    """Build the runner of a training and check all that it reads; its ``train`` starts the work.

    Args:
        cfg: a config as `launch.load_config` gives it; changed in place.
        resume: a checkpoint to go on from; 'latest' is the latest in ``cfg.work_dir``; None starts anew.
        mixed_precision: see `launch.use_mixed_precision`.

    Raises:
        FileNotFoundError, ValueError, KeyError: if anything that the run needs is missing or wrong.
    """
    if mixed_precision:
        launch.use_mixed_precision(cfg)
    start = choose_start(cfg, resume)
    if start is not None:
        checks.take_generator_from_checkpoint(cfg, start)
    checks.check_run(cfg, ["train", "val"])
    launch.distribute(cfg)
    runner = launch.build_trainer(cfg)
    if start is not None and isinstance(runner, Runner):
        check = checkpoints.check_fits if cfg.get("resume") else checkpoints.check_start
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        read_weights(start).check(model, check)
        runner.register_hook(PublishedCheckpointHook())
    launch.read_data(runner, "train", "val")
    record.write_record(runner)
    return runner


def choose_start(cfg: Config, resume: str | None) -> str | None:
    """Set where training starts: ``cfg.resume`` and ``cfg.load_from``.

    Returns:
        The checkpoint, if training starts from one.

    Raises:
        FileNotFoundError, ValueError: if there is no such checkpoint, or training cannot go on from it.
    """
    if resume == "latest":
        latest = find_latest(cfg.work_dir)
        if latest is None:
            print(f"nothing to resume in {cfg.work_dir}: there is no checkpoint, so training starts anew")
            cfg.resume = False
            return choose_start(cfg, None)
        resume = str(latest)
    if resume:
        checkpoints.check_resumable(resume)
        cfg.resume, cfg.load_from = True, str(checkpoints.find_checkpoint(resume))
    elif cfg.get("load_from"):
        cfg.load_from = str(checkpoints.find_checkpoint(cfg.load_from))
    return cfg.get("load_from")
