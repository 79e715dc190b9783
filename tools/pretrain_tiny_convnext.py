"""Pretrain the tiny ConvNeXt CLIP on rendered scenes: python tools/pretrain_tiny_convnext.py [--work-dir DIR]."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Pretrain the tiny ConvNeXt CLIP on rendered scenes and their captions."
    )
    arguments.add_pretraining(parser, "work_dirs/tiny_convnext")
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.demo_assets.pretraining.batches import Phase
    from hclip_mmseg.demo_assets.pretraining.run import Settings
    from hclip_mmseg.demo_assets.pretraining.tiny_convnext import DEFAULT_PHASES, pretrain

    launch.prepare_process()
    with launch.clear_errors():
        args.phases = [Phase.parse(text) for text in args.phases or DEFAULT_PHASES]
        pretrain(Settings(**vars(args)))


if __name__ == "__main__":
    main()
