"""List the models that have a name: python tools/models.py [WORD ...] [--json]."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(
        description="List the models that have a name, what their weights are and where they lie; the names are taken "
        "by hclip-predict, hclip-test, hclip-visualize and hclip-convert."
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="list those alone whose names hold all these words")
    parser.add_argument("--json", action="store_true", help="as JSON, with all that is known of them")
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.zoo.listing import as_json, as_table, matching

    with launch.clear_errors():
        models = matching(args.words)
        print(as_json(models) if args.json else as_table(models))


if __name__ == "__main__":
    main()
