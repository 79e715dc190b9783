"""Convert published checkpoints to ours and back: python tools/convert_checkpoint.py SRC DST [--to published]."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("hclip_mmseg") is None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from hclip_mmseg.apis import launch
from hclip_mmseg.conversion import recognise, to_ours, to_published
from hclip_mmseg.files import checkpoints
from hclip_mmseg.files.writing import whole
from hclip_mmseg.vocabularies import load_vocabulary


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Convert checkpoints of CAT-Seg, H-CLIP, MAFT+ and FC-CLIP as published, and CLIP's own weights, "
        "to this project's, or this project's to the published form."
    )
    parser.add_argument("src", help="the checkpoint to read")
    parser.add_argument("dst", help="the file to write")
    parser.add_argument("--to", choices=["ours", "published"], default="ours", help="direction (ours)")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    launch.quieten_dependencies()
    with launch.clear_errors():
        source, target = Path(args.src), Path(args.dst)
        checkpoint = checkpoints.load(checkpoints.find_checkpoint(source))
        if not isinstance(checkpoint, dict):
            raise ValueError(f"{source} holds no state dict")
        if args.to == "ours":
            converted = to_ours(checkpoint)
            published = converted["meta"]["published"]
            kind = published["kind"]
            if kind != "clip":
                trained = published.get("vocabulary", "coco_stuff_171")
                converted["meta"]["dataset_meta"] = dict(classes=load_vocabulary(trained).names)
            count = len(converted["state_dict"])
        else:
            if not isinstance(checkpoint.get("state_dict"), dict):
                raise ValueError(f"{source} holds no 'state_dict', so it is no checkpoint of this project")
            converted = to_published(checkpoint)
            count = len(converted.get("model", converted))
            kind = recognise(converted.get("model", converted))
        with whole(target) as part:
            torch.save(converted, part)
    print(f"{source} ({kind}) -> {target}: {count} tensors, {target.stat().st_size / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
