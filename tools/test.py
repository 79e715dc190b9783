"""Test a model: python tools/test.py CONFIG CHECKPOINT [--benchmarks NAME ...] [--out DIR] [--show-dir DIR]."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(description="Test a model.")
    add = parser.add_argument
    arguments.add_run_arguments(parser)
    add(
        "checkpoint",
        nargs="?",
        help="checkpoint file; models that need no training have none, and in the place of "
        "config and checkpoint a name that hclip-models lists will do",
    )
    add(
        "--benchmarks",
        nargs="+",
        default=(),
        metavar="NAME",
        help="evaluate on these instead of the config's own test data, one after the other (A-847 PC-459 A-150 PC-59 "
        "PAS-20 PAS-20b ...; 'all'; or 'found': those whose data is there); an interrupted evaluation goes on with "
        "those that remain",
    )
    add(
        "--dry-run",
        action="store_true",
        help="with --benchmarks: print for each which files were found, images, names, prompts, sizes and metrics, and "
        "evaluate nothing; neither weights nor data need be there",
    )
    add("--data-root", metavar="DIR", help="folder of the benchmarks' data (data)")
    add("--out", metavar="DIR", help="write label maps (16-bit above 255 classes) or boxes there")
    add("--show-dir", metavar="DIR", help="write images with the words there")
    add("--show", action="store_true", help="show the images in a window")
    add("--wait-time", type=float, default=2, help="seconds that a window stays (2)")
    more = "look at every image in three sizes and flipped, and average the scores"
    add("--tta", dest="augmentation", action="store_true", help=more)
    arguments.add_resize(parser)
    arguments.add_amp(parser)
    arguments.add_offline(parser)
    args = parser.parse_intermixed_args(argv)
    if args.dry_run and not args.benchmarks:
        parser.error("--dry-run tells what --benchmarks NAME ... would do: give them too")
    return args


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.apis.opening import open_model
    from hclip_mmseg.apis.settings import read_settings
    from hclip_mmseg.benchmarks import dry_run
    from hclip_mmseg.benchmarks.test import prepare_test

    launch.prepare_process()
    args.settings = read_settings(args.cfg_options)
    if args.dry_run:
        with launch.clear_errors():
            print(dry_run.plan_of_test(**arguments.chosen(args, dry_run.plan_of_test)))
        return
    with launch.clear_errors(args.work_dir):
        config, checkpoint, _ = open_model(args.config, args.checkpoint or None, offline=args.offline)
        args.checkpoint = None if checkpoint is None else str(checkpoint)
        cfg = launch.load_config(config, args.cfg_options, args.work_dir, args.launcher, args.local_rank)
        runner = prepare_test(cfg, **arguments.chosen(args, prepare_test))
    with launch.run_errors(runner.work_dir):
        runner.test()


if __name__ == "__main__":
    main()
