"""Find words in images: python tools/predict.py IMAGE... --vocab "cat, grass, traffic light" [--config CONFIG].

A segmentor's config gives overlays with a legend and label maps, a detector's gives drawn boxes and a list of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments

TINY = "configs/hclip/hclip_tiny_scenes.py"


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Write images in colours and label maps, or with boxes.")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="images, or folders of images")
    parser.add_argument(
        "--vocab",
        required=True,
        help="class names with commas between, a file of them (text, JSON, CSV, YAML; FILE:COLUMN of a table), or a "
        "benchmark's name (coco_stuff_171)",
    )
    parser.add_argument("--templates", help="prompts: scene, vild, vild-63, imagenet, or a text with {}")
    parser.add_argument("--config", default=TINY, help=f"config of the model ({TINY})")
    parser.add_argument("--checkpoint", help="trained weights (the latest in work_dirs/<config>, if any)")
    parser.add_argument("--out-dir", default="predictions", help="folder for the results (predictions)")
    parser.add_argument("--panoptic", action="store_true", help="draw things one by one, and stuff (mask classifiers)")
    parser.add_argument(
        "--stuff", help="those of the words that --panoptic does not count one by one (those of coco_panoptic_133 ...)"
    )
    parser.add_argument("--min-score", type=float, default=0.3, help="of the boxes that are drawn (0.3)")
    arguments.add_resize(parser)
    arguments.add_device(parser)
    arguments.add_settings(
        parser,
        "settings of the config to replace, such as model.test_cfg.score_threshold=0.2, or, for a checkpoint of "
        "tools/fold_adapters.py, model.backbone.adapter=None",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_arguments(argv)

    from hclip_mmseg.apis import launch
    from hclip_mmseg.apis.predict import prepare_prediction
    from hclip_mmseg.apis.settings import read_settings

    launch.prepare_process()
    with launch.clear_errors():
        prediction = prepare_prediction(
            args.images,
            args.vocab,
            config=args.config,
            checkpoint=args.checkpoint,
            settings=read_settings(args.cfg_options),
            templates=args.templates,
            out_dir=args.out_dir,
            panoptic=args.panoptic,
            stuff=args.stuff,
            min_score=args.min_score,
            device=args.device,
            resize=args.resize,
        )
    if not prediction.run():
        raise SystemExit(1)


if __name__ == "__main__":
    main()
