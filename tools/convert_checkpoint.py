"""Convert published checkpoints to ours and back: python tools/convert_checkpoint.py SRC DST [--to published]."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(
        description="Convert checkpoints of CAT-Seg, H-CLIP, MAFT+ and FC-CLIP as published, and CLIP's own weights, "
        "to this project's, or this project's to the published form."
    )
    parser.add_argument("src", help="the checkpoint to read, or the name of a published one (hclip-models)")
    parser.add_argument("dst", help="the file to write")
    parser.add_argument("--to", choices=["ours", "published"], default="ours", help="direction (ours)")
    arguments.add_offline(parser)
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.apis.opening import open_file
    from hclip_mmseg.conversion.files import convert_checkpoint

    launch.quieten_dependencies()
    with launch.clear_errors():
        print(convert_checkpoint(open_file(args.src, args.offline), args.dst, args.to))


if __name__ == "__main__":
    main()
