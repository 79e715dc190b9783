"""COCO-Stuff's label maps of 171 classes, which COCO-Object and COCO-27 are read from too."""

from __future__ import annotations

from pathlib import Path

from hclip_mmseg.datasets.benchmark import Benchmark
from hclip_mmseg.datasets.coco_stuff import HOW_TO_GET
from hclip_mmseg.datasets.preparation.conversion import Conversion, LabelMap, Split, those_there
from hclip_mmseg.datasets.preparation.declaration import Preparation, converts
from hclip_mmseg.datasets.preparation.tables import FromImage, number_table

IMAGES = {"train2017": 118_287, "val2017": 5_000}
NUMBERS = 182
UNUSED = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
"""Numbers of the owners' label maps, from 0, that were planned as classes and have no pixels."""
NO_CLASS = 255


def coco_stuff(root: Path) -> list[Conversion]:
    """Writes ``annotations/<split>/*_labelTrainIds.png`` beside the owners' ``annotations/<split>/*.png``.

    Args:
        root: holds ``images/{train,val}2017`` and ``annotations/{train,val}2017``, the latter unpacked from
            stuffthingmaps_trainval2017.zip.

    Raises:
        FileNotFoundError: if there are no images of either split.
    """
    splits = []
    for name, expected in IMAGES.items():
        images = sorted((root / "images" / name).glob("*.jpg"))
        folder = root / "annotations" / name
        maps = [
            LabelMap(image, folder / f"{image.stem}.png", folder / f"{image.stem}_labelTrainIds.png")
            for image in images
        ]
        splits.append(Split(name, expected, maps))
    splits = those_there(splits, root / "images", HOW_TO_GET)
    used = [number for number in range(NUMBERS) if number not in UNUSED]
    labels = {number: label for label, number in enumerate(used)}
    table = number_table({**labels, 255: NO_CLASS})
    return [Conversion("COCO-Stuff", splits, FromImage(table), len(labels), NO_CLASS)]


ROOT = "data/coco_stuff164k"
LABELLED = ("images/val2017/*.jpg", "annotations/val2017/*_labelTrainIds.png")
PREPARATIONS = (
    Preparation(
        "coco-stuff",
        "images/{train,val}2017/*.jpg, annotations/{train,val}2017/*.png of stuffthingmaps_trainval2017.zip",
        converts(coco_stuff),
        (
            Benchmark("COCO-Object", "coco-object.py", "coco_object_81", ROOT, LABELLED),
            Benchmark("COCO-Stuff", "coco-stuff_384x384.py", "coco_stuff_171", ROOT, LABELLED),
            Benchmark("COCO-27", "coco-27.py", "coco_27", ROOT, LABELLED),
        ),
    ),
)
