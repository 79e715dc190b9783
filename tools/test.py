"""Test a model: python tools/test.py CONFIG CHECKPOINT [--benchmarks NAME ...] [--out DIR] [--show-dir DIR]."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("hclip_mmseg") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from hclip_mmseg.apis import checks, launch, record
from hclip_mmseg.benchmarks.choice import FOUND, survey
from hclip_mmseg.benchmarks.command import check_takes_names, use_benchmarks
from hclip_mmseg.engine.memory import keep_freed_memory
from hclip_mmseg.files import checkpoints
from hclip_mmseg.models.frozen import is_training_free


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Test a model.")
    launch.add_run_arguments(parser)
    parser.add_argument("checkpoint", nargs="?", help="checkpoint file; models that need no training have none")
    parser.add_argument(
        "--benchmarks",
        nargs="+",
        metavar="NAME",
        help="evaluate on these instead of the config's own test data, one after the other (A-847 PC-459 A-150 PC-59 "
        "PAS-20 PAS-20b ...; 'all'; or 'found': those whose data is there); an interrupted evaluation goes on with "
        "those that remain",
    )
    parser.add_argument("--data-root", metavar="DIR", help="folder of the benchmarks' data (data)")
    parser.add_argument("--out", metavar="DIR", help="write label maps (16-bit above 255 classes) or boxes there")
    parser.add_argument("--show-dir", metavar="DIR", help="write pictures with the words there")
    parser.add_argument("--show", action="store_true", help="show the pictures in a window")
    parser.add_argument("--wait-time", type=float, default=2, help="seconds that a window stays (2)")
    return parser.parse_intermixed_args()


def draw_pictures(cfg: Config, args: argparse.Namespace) -> None:
    """Turn the drawing of results on, into a window or a folder."""
    hooks = cfg.get("default_hooks") or {}
    hook = hooks.get("visualization") or dict(type="mmseg.OpenVocabVisualizationHook")
    drawn = dict(draw=True, interval=1, show=args.show, wait_time=args.wait_time)
    cfg.default_hooks = {**hooks, "visualization": {**hook, **drawn}}
    if args.show_dir:
        cfg.visualizer.save_dir = args.show_dir


def main() -> None:
    args = parse_arguments()
    launch.quieten_dependencies()
    keep_freed_memory()
    with launch.clear_errors():
        cfg = launch.load_config(args)
        for option, folder in (("--out", args.out), ("--show-dir", args.show_dir)):
            if folder:
                launch.check_writable(folder, option)
        if args.benchmarks:
            folders = [folder for folder in (args.out, args.show_dir) if folder]
            use_benchmarks(cfg, args.checkpoint or None, args.benchmarks, args.data_root, args.cfg_options, folders)
        if args.checkpoint:
            checks.take_clip_from_checkpoint(cfg)
        elif not is_training_free(cfg.model):
            raise ValueError(f"{args.config} is a model that is trained: give the checkpoint to be tested after it")
        checks.check_run(cfg, ["test"])
        state = checkpoints.read_state_dict(args.checkpoint) if args.checkpoint else None
        if args.show or args.show_dir:
            draw_pictures(cfg, args)
        if args.out:
            hook = "BoxFileHook" if "roi_head" in cfg.model else "mmseg.LabelMapHook"
            cfg.custom_hooks = [*cfg.get("custom_hooks", []), dict(type=hook, folder=args.out)]
        cfg.load_from = str(checkpoints.find_checkpoint(args.checkpoint)) if args.checkpoint else None
        cfg.resume = False
        launch.distribute(cfg)
        runner = Runner.from_cfg(cfg)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if args.benchmarks:
            check_takes_names(model)
        if state is not None:
            checkpoints.check_fits(model, state, args.checkpoint)
        del state
        launch.read_data(runner, "test")
    record.write_record(runner)
    if args.benchmarks == [FOUND]:
        runner.logger.info(f"Found (+) and not found (-):\n{survey(args.data_root)}")
    runner.test()


if __name__ == "__main__":
    main()
