"""Pretrain a tiny CLIP on rendered scenes: python tools/pretrain_tiny.py clip | convnext [--work-dir DIR]."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(description="Pretrain a tiny CLIP on rendered scenes and their captions.")
    add = parser.add_argument
    add("tower", choices=["clip", "convnext"], help="of images: a vision transformer as CLIP's, or a ConvNeXt")
    add("--work-dir", help="where checkpoints and the log go (work_dirs/tiny_TOWER)")
    add("--phases", nargs="+", metavar="SIZE:BATCH:OBJECTS:STEPS[:DROP]", help="the curriculum (the tiny model's own)")
    add("--lr", type=float, default=1e-3, help="peak learning rate (%(default)s)")
    add("--warmup", type=int, default=150, help="steps of linear warm-up (%(default)s)")
    add("--seed", type=int, default=0, help="of scenes and weights (%(default)s)")
    add("--log-every", type=int, default=25, help="steps between lines of the log (%(default)s)")
    add("--save-every", type=int, default=200, help="steps between checkpoints (%(default)s)")
    add("--eval-every", type=int, default=500, help="steps between evaluations (%(default)s)")
    add("--eval-scenes", type=int, default=48, help="scenes of an evaluation (%(default)s)")
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.demo_assets.pretraining import tiny_clip, tiny_convnext
    from hclip_mmseg.demo_assets.pretraining.batches import Phase
    from hclip_mmseg.demo_assets.pretraining.run import Settings

    tiny = {"clip": tiny_clip, "convnext": tiny_convnext}[args.tower]
    launch.prepare_process()
    with launch.clear_errors():
        args.work_dir = args.work_dir or f"work_dirs/tiny_{args.tower}"
        args.phases = [Phase.parse(text) for text in args.phases or tiny.DEFAULT_PHASES]
        tiny.pretrain(Settings(**arguments.chosen(args, Settings)))


if __name__ == "__main__":
    main()
