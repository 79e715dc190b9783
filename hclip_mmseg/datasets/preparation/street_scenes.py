"""Cityscapes' label maps of 19 classes; a check of Mapillary Vistas."""

from __future__ import annotations

from pathlib import Path

from hclip_mmseg.datasets.benchmark import Benchmark
from hclip_mmseg.datasets.preparation.conversion import Conversion, LabelMap, Split, those_there
from hclip_mmseg.datasets.preparation.declaration import Preparation, converts
from hclip_mmseg.datasets.preparation.tables import FromImage, number_table
from hclip_mmseg.datasets.street_scenes import CITYSCAPES_HOW_TO_GET, Mapillary65Dataset

CITYSCAPES_IMAGES = {"train": 2_975, "val": 500}
MAPILLARY_IMAGES = {"training": 18_000, "validation": 2_000}
EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The label ids of the 19 classes, in the order of their train ids."""
NUMBERS = 34
NO_CLASS = 255


def cityscapes(root: Path) -> list[Conversion]:
    """Writes ``*_gtFine_labelTrainIds.png`` beside the owners' ``*_gtFine_labelIds.png``.

    Raises:
        FileNotFoundError: if there are no images for training or validation.
    """
    splits = []
    for name, expected in CITYSCAPES_IMAGES.items():
        maps = []
        for image in sorted((root / "leftImg8bit" / name).glob("*/*_leftImg8bit.png")):
            start = root / "gtFine" / name / image.parent.name / image.name.removesuffix("_leftImg8bit.png")
            source, target = (Path(f"{start}_gtFine_{kind}.png") for kind in ("labelIds", "labelTrainIds"))
            maps.append(LabelMap(image, source, target))
        splits.append(Split(name, expected, maps))
    splits = those_there(splits, root / "leftImg8bit", CITYSCAPES_HOW_TO_GET)
    none = dict.fromkeys([*range(NUMBERS), 255], NO_CLASS)
    table = number_table({**none, **{number: label for label, number in enumerate(EVALUATED)}})
    return [Conversion("Cityscapes", splits, FromImage(table), len(EVALUATED), NO_CLASS)]


def mapillary(root: Path) -> list[Conversion]:
    """A check of Mapillary Vistas, whose label maps of version 1.2 are read as they are: 0..65.

    Raises:
        FileNotFoundError: if there are no images for training or validation.
    """
    splits = []
    for name, expected in MAPILLARY_IMAGES.items():
        images = sorted((root / name / "images").glob("*.jpg"))
        maps = [root / name / "v1.2/labels" / f"{image.stem}.png" for image in images]
        splits.append(Split(name, expected, [LabelMap(*paths) for paths in zip(images, maps, maps, strict=True)]))
    splits = those_there(splits, root, Mapillary65Dataset.HOW_TO_GET)
    return [Conversion("Mapillary Vistas", splits, None, 66)]


PREPARATIONS = (
    Preparation(
        "cityscapes",
        "leftImg8bit/{train,val}/<city>, gtFine/{train,val}/<city>",
        converts(cityscapes),
        (
            Benchmark(
                "Cityscapes-27",
                config="cityscapes-27.py",
                vocabulary="cityscapes_27",
                data_root="data/cityscapes",
                prepared=("leftImg8bit/val", "gtFine/val/*/*_gtFine_labelIds.png"),
            ),
            Benchmark(
                "Cityscapes",
                config="cityscapes.py",
                vocabulary="cityscapes_19",
                data_root="data/cityscapes",
                prepared=("leftImg8bit/val", "gtFine/val/*/*_gtFine_labelTrainIds.png"),
            ),
        ),
    ),
    Preparation(
        "mapillary",
        "{training,validation}/{images,v1.2/labels} of version 2.0; only checked",
        converts(mapillary),
        (
            Benchmark(
                "Mapillary",
                config="mapillary.py",
                vocabulary="mapillary_65",
                data_root="data/mapillary",
                prepared=("validation/images/*.jpg", "validation/v1.2/labels/*.png"),
            ),
        ),
    ),
)
