"""Fold trained adapters for good: python tools/fold_adapters.py CONFIG CHECKPOINT DST [--clip DST_CLIP]."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("hclip_mmseg") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from hclip_mmseg.apis import launch
from hclip_mmseg.apis.inferencer import build_model
from hclip_mmseg.conversion import clip_state_dict, folded_state_dict
from hclip_mmseg.files.writing import whole


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Write a trained model without its adapters, folded into CLIP's weights: same outputs, at "
        "plain CLIP's cost. The result is for the same config with model.backbone.adapter=None."
    )
    parser.add_argument("config", help="config of the model")
    parser.add_argument("checkpoint", help="its trained weights")
    parser.add_argument("dst", help="checkpoint to write: folded CLIP and head")
    parser.add_argument("--clip", metavar="FILE", help="write the folded CLIP alone too, for open_clip")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    launch.quieten_dependencies()
    with launch.clear_errors():
        for file in (args.dst, args.clip):
            if file:
                launch.check_writable(Path(file).parent, file)
        state = folded_state_dict(build_model(args.config, args.checkpoint))
        with whole(Path(args.dst)) as part:
            torch.save({"meta": {"folded": True}, "state_dict": state}, part)
        print(f"{args.dst}: folded CLIP and head; use it with --cfg-options model.backbone.adapter=None")
        if args.clip:
            with whole(Path(args.clip)) as part:
                torch.save(clip_state_dict(state), part)
            print(f"{args.clip}: the folded CLIP in open_clip's names")


if __name__ == "__main__":
    main()
