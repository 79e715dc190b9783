"""Train a model: python tools/train.py CONFIG [--work-dir DIR] [--resume] [--amp] [--cfg-options K=V ...]."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(description="Train a model.")
    add = parser.add_argument
    arguments.add_run_arguments(parser)
    resumed = "go on from the latest checkpoint in the work directory, or from the one given"
    add("--resume", nargs="?", const="latest", metavar="CHECKPOINT", help=resumed)
    add("--amp", action="store_true", help="mixed precision: bf16, on GPUs without it fp16")
    add("--auto-scale-lr", action="store_true", help="scale the rate by batch / auto_scale_lr.base_batch_size")
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    try:
        from hclip_mmseg.apis import launch
        from hclip_mmseg.apis.train import train

        launch.prepare_process()
        with launch.clear_errors():
            cfg = launch.load_config(args.config, args.cfg_options, args.work_dir, args.launcher, args.local_rank)
    except KeyboardInterrupt:
        print("stopped before the training began", file=sys.stderr)
        raise SystemExit(130) from None
    train(cfg, args.resume, mixed_precision=args.amp, scale_rate=args.auto_scale_lr)


if __name__ == "__main__":
    main()
