"""Test a model: python tools/test.py CONFIG CHECKPOINT [--out DIR] [--show-dir DIR]."""

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
from hclip_mmseg.apis.memory import keep_freed_memory


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Test a model.")
    launch.add_run_arguments(parser)
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("--out", metavar="DIR", help="write label maps there (PNG; 16-bit above 255 classes)")
    parser.add_argument("--show-dir", metavar="DIR", help="write pictures with a legend of the words there")
    parser.add_argument("--show", action="store_true", help="show the pictures in a window")
    parser.add_argument("--wait-time", type=float, default=2, help="seconds that a window stays (2)")
    return parser.parse_args()


def draw_pictures(cfg: Config, args: argparse.Namespace) -> None:
    """Turn the drawing of results on, into a window or a folder."""
    hooks = cfg.setdefault("default_hooks", {})
    hook = hooks.setdefault("visualization", dict(type="OpenVocabVisualizationHook"))
    hook.update(draw=True, interval=1, show=args.show, wait_time=args.wait_time)
    if args.show_dir:
        cfg.visualizer.save_dir = args.show_dir


def main() -> None:
    args = parse_arguments()
    launch.quieten_dependencies()
    keep_freed_memory()
    with launch.clear_errors():
        cfg = launch.load_config(args)
        checks.take_clip_from_checkpoint(cfg)
        checks.check_run(cfg, ["test"])
        state = checks.read_state_dict(args.checkpoint)
        if args.show or args.show_dir:
            draw_pictures(cfg, args)
        if args.out:
            cfg.custom_hooks = [*cfg.get("custom_hooks", []), dict(type="LabelMapHook", folder=args.out)]
        cfg.load_from, cfg.resume = str(checks.find_checkpoint(args.checkpoint)), False
        launch.distribute(cfg)
        runner = Runner.from_cfg(cfg)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        checks.check_fits(model, state, args.checkpoint)
        del state
    record.write_record(runner)
    runner.test()


if __name__ == "__main__":
    main()
