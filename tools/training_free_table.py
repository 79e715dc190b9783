"""Segment scenes by the frozen tiny CLIP in every form or method: python tools/training_free_table.py [--methods]."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(description="Compare all forms of training-free segmentation on the scenes.")
    parser.add_argument("--scenes", type=int, default=160, help="how many are segmented (160)")
    parser.add_argument("--methods", action="store_true", help="all methods of the field, clear and hazy, three series")
    parser.add_argument("--choice-scenes", type=int, default=16, help="by which --methods chooses a combination (16)")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables there")
    arguments.add_device(parser)
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from mmengine.logging import MMLogger

    from hclip_mmseg.ablation.field import compare_methods
    from hclip_mmseg.ablation.training_free import compare_forms
    from hclip_mmseg.apis import launch
    from hclip_mmseg.files.writing import write_whole

    launch.prepare_process()
    MMLogger.get_instance("training-free", log_level="WARNING")
    with launch.clear_errors():
        if args.methods:
            tables = compare_methods(args.scenes, args.choice_scenes, args.device)
        else:
            tables = compare_forms(args.scenes, args.device)
        print(f"\n{tables}")
        if args.markdown:
            write_whole(args.markdown, tables)


if __name__ == "__main__":
    main()
