"""Make a data set of your own: python tools/new_dataset.py NAME --images DIR --masks DIR --classes "crack, rust"."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

if not __package__:
    import clone  # noqa: F401  (the clone's own code, whatever is installed)
from hclip_tools import arguments


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = arguments.Parser(
        description="Look at annotated images, and write what hclip-train takes: label maps, lists for training and "
        "validation, a sheet of overlays, the data set's config and a training config, in work_dirs/NAME. What is "
        "assumed is said, with the option that says otherwise."
    )
    add = parser.add_argument
    add("name", metavar="NAME", help="of the data set and its folder")
    add("--images", type=Path, required=True, metavar="DIR", help="folder of images, and of folders with images")
    add(
        "--masks",
        type=Path,
        required=True,
        metavar="PATH",
        help="the annotation: a folder of label maps (grey, palette, colours), of a mask for each class, or of YOLO's "
        "outlines; a JSON file of COCO instances or panoptic; an export of CVAT or Label Studio in one of these forms",
    )
    add("--classes", help="names in the order of the labels, commas between; or a file, one a line")
    add("--held-out", default="", help="names that are evaluated and not trained, commas between")
    add("--val", help="what is for validation: a share (0.2), folders of images, or a file that lists them")
    add("--seed", type=int, default=0, help="of the split and the overlays (0)")
    add("--check", action="store_true", help="look and say what is found, write nothing")
    add("--overwrite", action="store_true", help="replace the configs of before")
    add("--out-dir", default="work_dirs", metavar="DIR", help="where the folder is made (work_dirs)")
    add("--jobs", type=int, metavar="N", help="processes that read at once (all cores)")
    form = parser.add_argument_group("what the annotation means, where it is not found out")
    add = form.add_argument
    add("--kind", help="label-maps, colours, class-masks, coco, coco-panoptic or yolo")
    add("--colours", help='classes of colours: a file (a line a class), or a text "crack #ff0000, rust #00ff00"')
    add("--unlabelled", metavar="NAME", help="class of pixels without annotation, or 'ignore'")
    add("--ignore-label", dest="ignored", type=int, nargs="+", default=[], metavar="N", help="numbers of no class")
    add("--first-label", type=int, metavar="N", help="number of the first class in label maps")
    add("--mask-suffix", help="what a label map's name has beyond its image's, such as _mask")
    add("--panoptic-masks", type=Path, metavar="DIR", help="folder of COCO panoptic's label maps")
    training = parser.add_argument_group("the training")
    add = training.add_argument
    add("--method", default="h-clip", help="h-clip (the default), pop, lora, cat-seg, freeze, fisa or maft-plus")
    add("--size", default="base", help="of CLIP: base, large, or tiny, the embedded one (base)")
    add("--batch-size", type=int, default=4, help="images a step of each process (4)")
    add("--processes", type=int, default=1, help="that train together (1)")
    add("--iterations", type=int, help="steps (40 passes over the images, 500 to 80,000)")
    add("--start", metavar="CHECKPOINT", help="to start from instead of CLIP: a file, or a name of hclip-models")
    add("--repeat-below", type=float, metavar="SHARE", help="repeat images of classes in fewer of them than this share")
    keeping = parser.add_argument_group("keeping what CLIP knew (segmentors; docs/tutorials/keep.md)")
    add = keeping.add_argument
    add(
        "--keep",
        nargs="?",
        const="",
        metavar="DATA",
        help="watch what names that are not trained lose: drift of embeddings and, with DATA (a benchmark, or another "
        "data set's dataset.py), the mIoU there",
    )
    add("--hold", type=float, metavar="WEIGHT", help="penalty on embeddings of names that are not trained")
    add("--mix", metavar="DATA", help="train on DATA beside, on its own names")
    add("--mix-share", type=float, default=0.2, help="its share of all samples (0.2)")
    return parser.parse_args(argv)


@arguments.command(parse_arguments)
def main(args: argparse.Namespace) -> None:
    from hclip_mmseg.apis import launch
    from hclip_mmseg.apis.new_dataset import OwnData, new_dataset
    from hclip_mmseg.apis.own_training import Training

    launch.interrupt_on_termination()
    launch.quieten_dependencies()
    with launch.clear_errors():
        data = OwnData(**arguments.chosen(args, OwnData))
        training = Training(**arguments.chosen(args, Training))
        new_dataset(args.name, data, training, out_dir=args.out_dir, check=args.check, overwrite=args.overwrite)


if __name__ == "__main__":
    main()
