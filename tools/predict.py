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
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="images, folders of images, patterns, http addresses, or - for the standard input",
    )
    parser.add_argument("--recursive", action="store_true", help="look into the folders of folders, too")
    parser.add_argument(
        "--vocab",
        required=True,
        help="words with commas between, a text file with one a line, or a benchmark's name (coco_stuff_171)",
    )
    parser.add_argument(
        "--templates", help="prompts: scene, vild, vild-63, imagenet, a text with {}, or a .txt file with one a line"
    )
    arguments.add_rules(parser)
    parser.add_argument("--config", default=TINY, help=f"config of the model ({TINY})")
    parser.add_argument("--checkpoint", help="trained weights (the latest in work_dirs/<config>, if any)")
    parser.add_argument("--out-dir", default="predictions", help="folder for the results (predictions)")
    parser.add_argument(
        "--format",
        metavar="FORMAT,...",
        help="labels, overlay, json, coco, polygons, panoptic, csv (labels,overlay; panoptic,overlay with --panoptic; "
        "overlay,json of a detector)",
    )
    parser.add_argument("--panoptic", action="store_true", help="draw things one by one, and stuff (mask classifiers)")
    parser.add_argument(
        "--stuff", help="those of the words that --panoptic does not count one by one (those of coco_panoptic_133 ...)"
    )
    parser.add_argument("--min-score", type=float, default=0.3, help="of the boxes that are drawn (0.3)")
    parser.add_argument("--alpha", type=float, default=0.55, help="weight of the colours in overlays, 0 to 1 (0.55)")
    parser.add_argument(
        "--names-on-regions", "--words-on-regions", action="store_true", help="write class names on their regions"
    )
    parser.add_argument("--side-by-side", action="store_true", help="put the image itself beside its overlay")
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
            recursive=args.recursive,
            drawing=dict(
                alpha=args.alpha,
                names_on_regions=args.names_on_regions or None,
                side_by_side=args.side_by_side,
                min_score=args.min_score,
            ),
            device=args.device,
            resize=args.resize,
            formats=args.format,
            background=args.background,
            negatives=args.negatives,
            other=args.other,
            threshold=args.threshold,
            merge=args.merge,
            drop_absent=args.drop_absent,
        )
    if not prediction.run():
        raise SystemExit(1)


if __name__ == "__main__":
    main()
