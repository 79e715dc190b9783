"""Fetch models' weights, for this machine or another: python tools/download.py NAME ... [--to FOLDER] [--check]."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(
        description="Fetch the weights of models by the names that hclip-models lists, and convert them, so that other "
        "commands find them without the network. They go into the folder HCLIP_HOME, else into torch.hub's."
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="names of models; hclip-models lists them")
    parser.add_argument("--to", metavar="FOLDER", help="write the published files into this folder too")
    parser.add_argument("--check", action="store_true", help="compare what is here already with its checksum")
    arguments.add_offline(parser)
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.zoo.preparing import prepare

    launch.quieten_dependencies()
    with launch.clear_errors():
        for line in prepare(args.names, args.to, check=args.check, offline=args.offline):
            print(line)


if __name__ == "__main__":
    main()
