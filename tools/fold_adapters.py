"""Fold trained adapters for good: python tools/fold_adapters.py CONFIG CHECKPOINT DST [--clip DST_CLIP]."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(
        description="Write a trained model without its adapters, folded into CLIP's weights: same outputs, at "
        "plain CLIP's cost. The result is for the same config with model.backbone.adapter=None."
    )
    parser.add_argument("config", help="config of the model")
    parser.add_argument("checkpoint", help="its trained weights")
    parser.add_argument("dst", help="checkpoint to write: folded CLIP and head")
    parser.add_argument("--clip", metavar="FILE", help="write the folded CLIP alone too, for open_clip")
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import build_model, launch
    from hclip_mmseg.conversion.files import write_folded

    launch.quieten_dependencies()
    with launch.clear_errors():
        for file in filter(None, (args.dst, args.clip)):
            launch.check_writable(Path(file).parent, file)
        print("\n".join(write_folded(build_model(args.config, args.checkpoint), args.dst, args.clip)))


if __name__ == "__main__":
    main()
