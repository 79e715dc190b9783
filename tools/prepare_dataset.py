"""Prepare a data set: python tools/prepare_dataset.py NAME --root DIR [--check]; --list says what there is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(
        description="Make what the configs read from what a data set's owners distribute. Label maps that are there "
        "already stay; so an interrupted preparation goes on where it stopped."
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="of a data set (see --list), or a benchmark (A-847)")
    parser.add_argument("--root", metavar="DIR", help="the data set's folder")
    parser.add_argument("--list", action="store_true", help="say which data sets there are, and what must lie in DIR")
    parser.add_argument("--check", action="store_true", help="write nothing; read every label map and verify it")
    parser.add_argument("--partial", action="store_true", help="take a part of the data set for the whole")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes at once (all cores)")
    args = parser.parse_args(argv)
    if not args.list and (args.name is None or args.root is None):
        parser.error("give NAME and --root DIR; --list says which data sets there are")
    return args


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.apis.prepare import list_preparations, prepare_dataset

    if args.list:
        print(list_preparations())
        return
    launch.interrupt_on_termination()
    with launch.clear_errors():
        prepare_dataset(args.name, args.root, check=args.check, partial=args.partial, jobs=args.jobs)


if __name__ == "__main__":
    main()
