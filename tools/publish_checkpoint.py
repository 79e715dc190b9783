"""Write a checkpoint as it is published, weights alone: python tools/publish_checkpoint.py SRC DST."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(
        description="Write a checkpoint's weights and class names alone, without optimizer and history; the first 8 "
        "digits of the file's SHA-256 become part of its name, as OpenMMLab's tools expect."
    )
    parser.add_argument("src", help="a checkpoint of training")
    parser.add_argument("dst", help="the file to write, such as hclip.pth: hclip-1a2b3c4d.pth is written")
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.conversion.files import publish_checkpoint

    launch.quieten_dependencies()
    with launch.clear_errors():
        print(publish_checkpoint(args.src, args.dst))


if __name__ == "__main__":
    main()
