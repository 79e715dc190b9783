"""Count the operations and memory of a method, uncomputed: python tools/count_costs.py fisa | maft-plus [...]."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments

GENERATOR = "configs/fisa/fisa_vitl14-336_swin-b_coco-panoptic.py"


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Count what a method costs at the real sizes.")
    methods = parser.add_subparsers(dest="method", required=True, parser_class=arguments.Parser)
    add = methods.add_parser("fisa", help="FISA's image tower in each form of tuning").add_argument
    add("--model", default="ViT-L-14-336", help="name of open_clip (%(default)s)")
    add("--resolution", type=int, default=896, help="side of the square that CLIP sees (%(default)s)")
    add("--names", type=int, default=133, help="number of class names (%(default)s)")
    add("--proposals", type=int, default=100, help="number of masks (%(default)s)")
    add("--images", type=int, default=400_000, help="seen in training (25k iterations of 16)")
    add("--generator", default=GENERATOR, metavar="CONFIG", help="whose mask generator is counted too (%(default)s)")
    add = methods.add_parser("maft-plus", help="MAFT+ beside its frozen baseline").add_argument
    add("--tower", choices=["l", "b"], default="l", help="ConvNeXt-L or -B, for MAFT+'s row alone (%(default)s)")
    add("--names", type=int, default=171, help="number of class names (%(default)s)")
    add("--size", type=int, nargs=2, default=(800, 1088), help="of an image in inference (800 1088)")
    add("--crop", type=int, default=1024, help="side of a crop in training (%(default)s)")
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.costs import fisa, maft_plus

    printing: dict[str, Callable[..., None]] = {"fisa": fisa.print_costs, "maft-plus": maft_plus.print_costs}
    print_costs = printing[args.method]
    launch.quieten_dependencies()
    with launch.clear_errors():
        print_costs(**arguments.chosen(args, print_costs))


if __name__ == "__main__":
    main()
