"""Training a model from its config."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from mmengine.runner import FlexibleRunner, Runner

from hclip_mmseg.apis import checks, launch, record, resumed_positions
from hclip_mmseg.apis.mixed_precision import use_mixed_precision
from hclip_mmseg.apis.opening import open_checkpoint
from hclip_mmseg.apis.repeatable import make_repeatable
from hclip_mmseg.apis.weights import PublishedCheckpointHook, Weights, weights_of
from hclip_mmseg.engine.atomic_checkpoint_hook import DivergedTrainingError
from hclip_mmseg.engine.interruption_hook import InterruptedTraining, InterruptionHook, Request, keep_loading, standing
from hclip_mmseg.engine.iteration_seed_hook import IterationSeedHook
from hclip_mmseg.files import checkpoints
from hclip_mmseg.files.paths import is_clone
from hclip_mmseg.files.run_folders import alone_in, find_latest
from hclip_mmseg.models.open_vocab_model import model_inside


def train(
    cfg: Config, resume: str | None = None, *, mixed_precision: bool = False, scale_rate: bool = False
) -> None:
    """Train a model, alone in its folder; Ctrl-C and the signal TERM end it with a checkpoint and one line.

    Args:
        cfg, resume, mixed_precision, scale_rate: see `prepare_training`.

    Raises:
        SystemExit: with code 2 where anything is missing or wrong or the weights became NaN or Inf, 130 where it was
            asked to end.
    """
    request, runner, earlier = Request(), None, ""
    is_first = launch.is_first_process(cfg.get("launcher", "none"))
    with request.heard(), ExitStack() as folder:
        try:
            with launch.clear_errors(cfg.work_dir):
                if is_first:
                    folder.enter_context(alone_in(cfg.work_dir))
                earlier = "" if resume or cfg.get("resume") else written_over(cfg.work_dir)
                runner = prepare_training(cfg, resume, mixed_precision=mixed_precision, scale_rate=scale_rate)
            if earlier:
                runner.logger.warning(earlier)
            runner.register_hook(InterruptionHook(request))
            with launch.run_errors(cfg.work_dir, partial(kept, runner)):
                runner.train()
            runner.logger.info(ending(runner))
        except (InterruptedTraining, KeyboardInterrupt) as stopped:
            if is_first:
                before = "stopped before the training began" if runner is None else standing(runner, runner.iter)
                print(str(stopped) or before, file=sys.stderr)
            raise SystemExit(130) from None
        except DivergedTrainingError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None


def kept(runner: Runner | FlexibleRunner) -> str:
    """The checkpoint that a training which an error ended can go on from, in words; '' where there is none."""
    latest = find_latest(runner.work_dir)
    return f"the last checkpoint is {latest}; go on from it with --resume" if latest else ""


def written_over(folder: str | Path) -> str:
    """What a run that begins anew does to an earlier one's checkpoints in its folder, in words; '' where none is."""
    latest = find_latest(folder)
    if latest is None:
        return ""
    return (
        f"{latest} is of an earlier run: this one begins anew and writes over checkpoints of the same names; --resume "
        "goes on from it, --work-dir takes another folder"
    )


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
    cfg: Config, resume: str | None = None, *, mixed_precision: bool = False, scale_rate: bool = False
) -> Runner | FlexibleRunner:
    """Build the runner of a training and check all that it reads; its ``train`` starts the work.

    Args:
        cfg: a config as `launch.load_config` gives it; changed in place.
        resume: a checkpoint to go on from; 'latest' is the latest in ``cfg.work_dir``; None starts anew.
        mixed_precision: whether to train in 16 bits; see `use_mixed_precision`.
        scale_rate: see `launch.scale_rate`.

    Raises:
        FileNotFoundError, ValueError, KeyError: if anything that the run needs is missing or wrong.
    """
    checks.check_trains(cfg)
    if mixed_precision:
        use_mixed_precision(cfg)
    if scale_rate:
        launch.scale_rate(cfg)
    checkpoint = choose_start(cfg, resume)
    start = None if checkpoint is None else read_start(cfg, checkpoint)
    checks.take_generator_from_checkpoint(cfg, () if start is None else start.state)
    checks.check_run(cfg, ["train", "val"])
    make_repeatable(cfg)
    launch.distribute(cfg)
    runner = launch.build_trainer(cfg)
    keep_loading(runner)
    if start is not None and isinstance(runner, Runner):
        check = checkpoints.check_fits if cfg.get("resume") else checkpoints.check_start
        model = model_inside(runner.model)
        start.check(model, check)
        runner.register_hook(PublishedCheckpointHook())
    launch.read_data(runner, "train", "val")
    launch.build_optimizer(runner)
    record.write_record(runner)
    if lacking := what_a_repeated_run_lacks(cfg, runner):
        runner.logger.warning(f"A resumed run will not equal an uninterrupted one: {'; '.join(lacking)}")
    return runner


def choose_start(cfg: Config, resume: str | None) -> str | None:
    """Set where training starts: ``cfg.resume`` and ``cfg.load_from``, which may be a model's name too.

    Returns:
        The checkpoint, if training starts from one.

    Raises:
        FileNotFoundError, ValueError: if there is no such checkpoint or model, or training cannot go on from it.
    """
    if resume is None and cfg.get("resume"):
        resume = cfg.get("load_from") or "latest"
    if resume == "latest":
        latest = find_latest(cfg.work_dir)
        if latest is None:
            print(f"nothing to resume in {cfg.work_dir}: there is no checkpoint, so training starts anew")
            cfg.resume, resume = False, None
        else:
            resume = str(latest)
    if resume:
        cfg.resume, cfg.load_from = True, str(checkpoints.find_checkpoint(resume))
    elif cfg.get("load_from"):
        cfg.load_from = str(open_checkpoint(cfg.load_from))
    return cfg.get("load_from")


def read_start(cfg: Config, start: str) -> Weights:
    """The weights in the checkpoint that a training starts from or goes on from; it is read once.

    Args:
        cfg: of the run; where it goes on without a seed of its own, it takes the checkpoint's, and it trains
            positional embeddings if they were trained before.
        start: the checkpoint.

    Raises:
        ValueError: if it is damaged, holds no model, or a resumed training cannot go on from it.
    """
    content = checkpoints.load(start)
    if cfg.get("resume"):
        checkpoints.check_resumable(content, start)
        resumed_positions.follow_checkpoint(cfg, content)
        if (cfg.get("randomness") or {}).get("seed") is None and "seed" in content["meta"]:
            cfg.randomness = {**(cfg.get("randomness") or {}), "seed": content["meta"]["seed"]}
    return weights_of(content, start)


def what_a_repeated_run_lacks(cfg: Config, runner: Runner | FlexibleRunner) -> list[str]:
    """What a run lacks to draw the same random numbers when it goes on from a checkpoint; nothing for our configs.

    Args:
        cfg: of the run.
        runner: built from it.

    Returns:
        A line for each thing.
    """
    lacking = []
    if not any(isinstance(hook, IterationSeedHook) for hook in runner.hooks):
        lacking.append("add iteration_seed=dict(type='mmseg.IterationSeedHook') to default_hooks")
    sampler = str(cfg.train_dataloader.get("sampler", {}).get("type"))
    for dataset in checks.innermost_datasets(cfg.train_dataloader.dataset):
        kinds = [str(step["type"]) for step in dataset.get("pipeline") or []]
        seeded = sampler.endswith("ReplayableSampler") and any(kind.endswith("SeedAugmentation") for kind in kinds)
        with TRANSFORMS.switch_scope_and_registry(cfg.get("default_scope")) as registry:
            drawn = [kind for kind in kinds if getattr(registry.get(kind), "_methods_with_randomness", ())]
        if drawn and not seeded:
            lacking.append(
                f"{drawn[0]} draws new numbers; put dict(type='mmseg.SeedAugmentation') first in the pipeline, and "
                "sample by mmseg.ReplayableSampler (by epochs mmseg.EpochReplayableSampler)"
            )
    return lacking
