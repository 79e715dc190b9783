"""Training a model from its config."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import FlexibleRunner, Runner, find_latest_checkpoint

from hclip_mmseg.apis import checks, launch, record
from hclip_mmseg.files import checkpoints


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
        check(model, checkpoints.read_state_dict(start), start)
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
        cfg.resume, cfg.load_from = True, None
        latest = find_latest_checkpoint(cfg.work_dir) if Path(cfg.work_dir).is_dir() else None
        if latest is not None:
            checkpoints.check_resumable(latest)
        return latest
    if resume:
        checkpoints.check_resumable(resume)
        cfg.resume, cfg.load_from = True, str(checkpoints.find_checkpoint(resume))
    elif cfg.get("load_from"):
        cfg.load_from = str(checkpoints.find_checkpoint(cfg.load_from))
    return cfg.get("load_from")
