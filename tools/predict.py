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
    parser = arguments.Parser(description="Write images in colours and label maps, or with boxes.")
    add = parser.add_argument
    taken = "images, folders of images, patterns, http addresses, or - for the standard input"
    add("images", nargs="*", metavar="IMAGE", help=taken)
    add("--recursive", action="store_true", help="look into the folders of folders, too")
    add("--batch-size", type=int, default=1, help="images of one size that the model is given at once (1)")
    shared = "do every N-th image, from the K-th: one of N processes that share them"
    add("--part", default="1/1", metavar="K/N", help=shared)
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument(
        "--vocab",
        help="class names with commas between ('person = man, woman; cat': classes of several names), a file of them "
        "(text, JSON, CSV, YAML; FILE:COLUMN of a table), or a benchmark's name (coco_stuff_171)",
    )
    asked.add_argument(
        "--onnx", metavar="FILE", help="instead of a config: a model that tools/export.py wrote for its own class names"
    )
    asked.add_argument(
        "--merge-parts", action="store_true", help="only put the files together that all --part K/N wrote in --out-dir"
    )
    add("--templates", help="prompts: scene, vild, vild-63, imagenet, a text with {}, or a .txt file with one a line")
    add("--save-vocab", metavar="FILE", help="write names and embeddings (.safetensors), for --vocab FILE later on")
    arguments.add_rules(parser)
    add("--config", "--model", default=TINY, help=f"config of the model, or a name that hclip-models lists ({TINY})")
    add("--checkpoint", help="trained weights (of a name, what is published; else the latest in work_dirs/<config>)")
    add("--out-dir", default="predictions", help="folder for the results (predictions)")
    add(
        "--format",
        metavar="FORMAT,...",
        help="labels, overlay, json, coco, polygons, panoptic, csv (labels,overlay; panoptic,overlay with --panoptic; "
        "overlay,json of a detector)",
    )
    add("--panoptic", action="store_true", help="draw things one by one, and stuff (mask classifiers)")
    add("--stuff", help="those of the words that --panoptic does not count one by one (those of coco_panoptic_133 ...)")
    add("--min-score", type=float, default=0.3, help="of the boxes that are drawn (0.3)")
    add("--alpha", type=float, default=0.55, help="weight of the colours in overlays, 0 to 1 (0.55)")
    named = "write class names on their regions (of segments)"
    add("--names-on-regions", "--words-on-regions", action="store_const", const=True, help=named)
    add("--side-by-side", action="store_true", help="put the image itself beside its overlay")
    add("--video", metavar="FILE", help="a video, or a camera by its number, instead of images")
    add("--every", type=int, default=1, metavar="N", help="look at every N-th frame of the video (1)")
    add("--smooth", type=float, default=0.0, metavar="WEIGHT", help="weight of earlier frames' scores, below 1 (0)")
    arguments.add_resize(parser)
    arguments.add_device(parser)
    arguments.add_amp(parser)
    arguments.add_offline(parser)
    arguments.add_settings(
        parser,
        "settings of the config to replace, such as model.test_cfg.score_threshold=0.2, or, for a checkpoint of "
        "tools/fold_adapters.py, model.backbone.adapter=None",
    )
    args = parser.parse_args(argv)
    if args.images and args.video is not None or not (args.images or args.video or args.save_vocab or args.merge_parts):
        parser.error("give images, or a video by --video")
    if args.video is None and (args.smooth or args.every != 1):
        parser.error("--every and --smooth are for a --video")
    if args.onnx and args.video is not None:
        parser.error("--onnx takes images: a video needs a config")
    return args


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.apis.image_inferencer import ImageInferencer
    from hclip_mmseg.apis.predict import ModelChoice, Output, prepare_exported, prepare_prediction, read_part
    from hclip_mmseg.apis.question import Rules
    from hclip_mmseg.apis.settings import read_settings
    from hclip_mmseg.apis.video import VideoPrediction, check_video
    from hclip_mmseg.results import Result, merge_parts

    launch.prepare_process()
    if args.merge_parts:
        with launch.clear_errors(args.out_dir):
            print("\n".join(map(str, merge_parts(args.out_dir))))
        return
    with launch.clear_errors():
        if args.video is not None:
            check_video(args.video, args.every, args.smooth)
        formats = args.format or ("overlay" if args.video is not None else None)
        output = Output(args.out_dir, formats, read_part(args.part), arguments.chosen(args, Result.overlay))
        if args.onnx:
            prediction = prepare_exported(args.images, args.onnx, output, recursive=args.recursive, given=vars(args))
        else:
            args.settings = read_settings(args.cfg_options)
            model = ModelChoice(**arguments.chosen(args, ModelChoice))
            asked = {**arguments.chosen(args, prepare_prediction), **arguments.chosen(args, Rules)}
            prediction = prepare_prediction(args.images, args.vocab, model, output, **asked)
    with launch.run_errors(args.out_dir):
        if args.video is not None:
            assert isinstance(prediction.inferencer, ImageInferencer)
            video = VideoPrediction(prediction.inferencer, prediction.writer, args.video, args.every, args.smooth)
            video.run()
            return
        done = not args.images or prediction.run()
    if not done:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
