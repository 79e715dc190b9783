"""Train a model: python tools/train.py CONFIG [--work-dir DIR] [--resume] [--amp] [--cfg-options K=V ...]."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("hclip_mmseg") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, find_latest_checkpoint

from hclip_mmseg.apis import checks, launch, record
from hclip_mmseg.engine.memory import keep_freed_memory
from hclip_mmseg.files import checkpoints


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a model.")
    launch.add_run_arguments(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="latest",
        metavar="CHECKPOINT",
        help="go on from the latest checkpoint in the work directory, or from the one given",
    )
    parser.add_argument("--amp", action="store_true", help="mixed precision: bf16, on GPUs without it fp16")
    return parser.parse_args()


def choose_start(cfg: Config, resume: str | None) -> str | None:
    """Set where training starts: ``cfg.resume`` and ``cfg.load_from``; the checkpoint, if it starts from one.

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


def main() -> None:
    args = parse_arguments()
    launch.quieten_dependencies()
    keep_freed_memory()
    with launch.clear_errors():
        cfg = launch.load_config(args)
        if args.amp:
            launch.use_mixed_precision(cfg)
        start = choose_start(cfg, args.resume)
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
    runner.train()


if __name__ == "__main__":
    main()
