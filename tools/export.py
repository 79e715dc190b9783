"""Write a model as one file: python tools/export.py CONFIG CHECKPOINT --vocab "cat, grass" [--format onnx]."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(
        description="Write a model for some class names as one file: adapters folded, the names' embeddings as "
        "constants, without the text tower. tools/predict.py --onnx FILE runs it."
    )
    add = parser.add_argument
    add("config", help="config of a segmentor or detector, or a name that hclip-models lists")
    add("checkpoint", nargs="?", help="its trained weights; none: CLIP as it is, without a head")
    add(
        "--vocab",
        dest="vocabulary",
        required=True,
        help="words with commas between, a text file with one a line, or a benchmark's name (coco_stuff_171)",
    )
    add("--templates", help="prompts: scene, vild, vild-63, imagenet, or a text with {}")
    add("--out", dest="target", metavar="FILE", help="the file (the config's name: CONFIG.onnx, .pt or .pt2)")
    add("--format", dest="form", choices=["onnx", "torchscript", "pt2"], default="onnx", help="(%(default)s)")
    add("--dynamic", action="store_true", help="any number of images at once, for more memory a view")
    add("--half", action="store_true", help="weights and activations in 16 bits")
    add("--int8", action="store_true", help="ONNX weights in 8 bits where 99.9 %% of the labels stay, else in 16")
    add("--images", nargs="+", default=[], metavar="IMAGE", help="images and folders to calibrate --int8 on (scenes)")
    arguments.add_resize(parser)
    arguments.add_settings(parser, "settings of the config to replace, such as model.test_cfg.mode=whole")
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.apis.export import export
    from hclip_mmseg.apis.settings import read_settings

    launch.quieten_dependencies()
    with launch.clear_errors():
        args.settings = read_settings(args.cfg_options)
        lines = export(**arguments.chosen(args, export))
        print("\n".join(lines))


if __name__ == "__main__":
    main()
