"""Count what MAFT+ costs at the real sizes beside its frozen baseline: python tools/maft_plus_costs.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Count what MAFT+ costs at the real sizes beside its frozen baseline.")
    parser.add_argument("--tower", choices=["l", "b"], default="l", help="ConvNeXt-L or -B, for MAFT+'s row alone (l)")
    parser.add_argument("--names", type=int, default=171, help="number of class names (171)")
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1088), help="of an image in inference (800 1088)")
    parser.add_argument("--crop", type=int, default=1024, help="side of a crop in training (1024)")
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.costs.maft_plus import print_costs

    launch.quieten_dependencies()
    with launch.clear_errors():
        print_costs(args.tower, args.names, tuple(args.size), args.crop)


if __name__ == "__main__":
    main()
