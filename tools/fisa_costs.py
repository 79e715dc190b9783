"""Count what FISA costs in each form of tuning: python tools/fisa_costs.py [--model ViT-L-14-336] [--images 400000]."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Count what FISA's image tower costs in each form of tuning.")
    parser.add_argument("--model", default="ViT-L-14-336", help="name of open_clip (ViT-L-14-336)")
    parser.add_argument("--resolution", type=int, default=896, help="side of the square that CLIP sees (896)")
    parser.add_argument("--names", type=int, default=133, help="number of class names (133)")
    parser.add_argument("--proposals", type=int, default=100, help="number of masks (100)")
    parser.add_argument("--images", type=int, default=400_000, help="seen in training (25k iterations of 16)")
    parser.add_argument(
        "--generator",
        default="configs/fisa/fisa_vitl14-336_swin-b_coco-panoptic.py",
        metavar="CONFIG",
        help="config whose mask generator is counted too (%(default)s)",
    )
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.costs.fisa import print_costs

    launch.quieten_dependencies()
    with launch.clear_errors():
        print_costs(args.model, args.resolution, args.names, args.proposals, args.generator, args.images)


if __name__ == "__main__":
    main()
