"""Test a model: python tools/test.py CONFIG CHECKPOINT [--benchmarks NAME ...] [--out DIR] [--show-dir DIR]."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Test a model.")
    arguments.add_run_arguments(parser)
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
    parser.add_argument("--show-dir", metavar="DIR", help="write images with the words there")
    parser.add_argument("--show", action="store_true", help="show the images in a window")
    parser.add_argument("--wait-time", type=float, default=2, help="seconds that a window stays (2)")
    arguments.add_resize(parser)
    return parser.parse_intermixed_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_arguments(argv)

    from hclip_mmseg.apis import launch
    from hclip_mmseg.apis.settings import read_settings
    from hclip_mmseg.benchmarks.test import prepare_test

    launch.prepare_process()
    with launch.clear_errors():
        runner = prepare_test(
            launch.load_config(args.config, args.cfg_options, args.work_dir, args.launcher, args.local_rank),
            args.checkpoint or None,
            benchmarks=args.benchmarks or (),
            data_root=args.data_root,
            settings=read_settings(args.cfg_options),
            out=args.out,
            show_dir=args.show_dir,
            show=args.show,
            wait_time=args.wait_time,
            resize=args.resize,
        )
    with launch.run_errors():
        runner.test()


if __name__ == "__main__":
    main()
