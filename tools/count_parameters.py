"""Count what a config trains: python tools/count_parameters.py CONFIG ... [--markdown | --json]."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(
        description="Count the parameters that a config trains, by part, beside the count that the paper prints. "
        "CLIP's weights need not be there."
    )
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="config files")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--markdown", dest="form", action="store_const", const="markdown", help="one table with a line for each config"
    )
    form.add_argument("--json", dest="form", action="store_const", const="json", help="everything, for programs")
    parser.set_defaults(form="table")
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.costs.parameters import count_all, print_counts

    launch.quieten_dependencies()
    with launch.clear_errors():
        counts = count_all(args.configs)
    print_counts(counts, args.form)


if __name__ == "__main__":
    main()
