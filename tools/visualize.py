"""Show how CLIP segments without training, and how words and images lie to each other.

python tools/visualize.py IMAGE... --vocab "cat, grass" [--config CONFIG] [--points 120,80 30,40]
python tools/visualize.py --similarity CONFIG [--checkpoint FILE]

Of every image: correlation heat maps of points before and after recovery, global patches by depth, regions before
and after denoising, the final masks; by a config of the field what a method's patches take of each other, its regions
and the map of every name. Of a data set: similarities of its classes, frozen and fine-tuned. All are PNG
files in one folder, gathered by its index.html.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments

TINY = "configs/cliptrase/cliptrase_tiny_scenes.py"


def point_of(text: str) -> tuple[int, int]:
    x, y = text.split(",")
    return int(x), int(y)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(description="Write figures of correlations and one page that gathers them.")
    add = parser.add_argument
    add("images", nargs="*", metavar="IMAGE", help="images, or folders of images")
    add("--vocab", help="class names with commas between, a file, or a benchmark's name")
    add("--config", "--model", default=TINY, help=f"config without training, or its name in hclip-models ({TINY})")
    add("--points", nargs="+", type=point_of, metavar="X,Y", help="pixels to explain (the largest regions' middles)")
    add("--similarity", metavar="CONFIG", help="compare the classes of this config's test data")
    add("--checkpoint", help="fine-tuned weights for --similarity, beside the frozen CLIP")
    add("--samples", type=int, default=50, help="images that --similarity looks at (50)")
    add("--out-dir", default="visualizations", help="folder for the figures (visualizations)")
    arguments.add_device(parser)
    arguments.add_offline(parser)
    args = parser.parse_args(argv)
    if not args.images and not args.similarity:
        parser.error("nothing to show: give images with --vocab, or --similarity CONFIG")
    if args.images and not args.vocab:
        parser.error("give the words to look for with --vocab")
    return args


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.apis.visualize import prepare_figures

    launch.prepare_process()
    with launch.clear_errors():
        figures = prepare_figures(args.images, args.vocab, **arguments.chosen(args, prepare_figures))
    with launch.run_errors(args.out_dir):
        done = figures.draw()
    if not done:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
