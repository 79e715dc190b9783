"""ADE20K: the full annotation of 847 classes, and a check of the 150 classes of scene parsing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hclip_mmseg.datasets.ade20k import ADE20K150Dataset, ADE20K847Dataset
from hclip_mmseg.datasets.benchmark import Benchmark
from hclip_mmseg.datasets.preparation.ade20k_index import read_index
from hclip_mmseg.datasets.preparation.conversion import Conversion, LabelMap, Split, those_there
from hclip_mmseg.datasets.preparation.declaration import Preparation, converts
from hclip_mmseg.datasets.preparation.files import Labels, read_colours
from hclip_mmseg.datasets.preparation.tables import Table, look_up, number_table
from hclip_mmseg.vocabularies import load_vocabulary

NO_CLASS = ADE20K847Dataset.IGNORE
IMAGES = {"training": 25_574, "validation": 2_000}
SCENE_IMAGES = {"training": 20_210, "validation": 2_000}


@dataclass(frozen=True)
class FromColours:
    """Converts ADE20K's annotations: red / 10, without the remainder, times 256 plus green is an object's number."""

    table: Table

    def __call__(self, path: Path) -> Labels:
        """Labels ``[H, W]`` of a file; raises ValueError if it is no such image or holds unknown numbers."""
        colours = read_colours(path)
        return look_up(self.table, colours[..., 0].astype(np.int32) // 10 * 256 + colours[..., 1], path)


def class_of_object(objects: Sequence[str]) -> dict[int, int]:
    """Number in the annotation -> class, for the objects that the 847 classes name.

    Case and spaces aside, an object's synonyms are the class's, in any order. Where several objects have the same,
    all are of that class.

    Raises:
        ValueError: if classes have no object: the index is of another release.
    """
    classes = {_words(title): label for label, title in enumerate(load_vocabulary("ade20k_847").titles)}
    found = {number: classes[_words(name)] for number, name in enumerate(objects, 1) if _words(name) in classes}
    lacking = set(classes.values()) - set(found.values())
    if lacking:
        names = load_vocabulary("ade20k_847").titles
        shown = "; ".join(names[label] for label in sorted(lacking)[:5])
        raise ValueError(
            f"the index has no objects for {len(lacking)} of the 847 classes ({shown}): it must be that of "
            "ADE20K_2021_17_01"
        )
    return found


def ade20k_847(root: Path) -> list[Conversion]:
    """Label maps of 16 bits in ``labels_847`` for the images of ADE20K_2021_17_01.

    Raises:
        FileNotFoundError: if the index or all images are not there.
        ValueError: if it cannot be read; see :func:`~.ade20k_index.read_index`.
    """
    if not (root / "index_ade20k.pkl").is_file():
        raise FileNotFoundError(f"no index_ade20k.pkl in {root}. {ADE20K847Dataset.HOW_TO_GET}")
    index = read_index(root / "index_ade20k.pkl")
    images, labels = root / "images/ADE", root / "labels_847"
    maps: dict[str, list[LabelMap]] = {name: [] for name in IMAGES}
    for image in index.images:
        path = images / image
        if path.is_file():
            source, target = path.with_name(f"{path.stem}_seg.png"), (labels / image).with_suffix(".png")
            maps[image.parts[0]].append(LabelMap(path, source, target))

    def lists(name: str) -> dict[Path, list[str]]:
        names = [label_map.target.relative_to(labels).with_suffix("").as_posix() for label_map in maps[name]]
        return {labels / f"{name}.txt": names}

    splits = those_there(
        [Split(name, expected, maps[name], lists(name)) for name, expected in IMAGES.items()],
        images,
        ADE20K847Dataset.HOW_TO_GET,
    )
    table = number_table({**dict.fromkeys(range(len(index.objects) + 1), NO_CLASS), **class_of_object(index.objects)})
    return [Conversion("ADE20K-847", splits, FromColours(table), len(load_vocabulary("ade20k_847")), NO_CLASS)]


def ade20k_150(root: Path) -> list[Conversion]:
    """A check of ADEChallengeData2016, which is read as it is: 1..150, and 0 for no class.

    Raises:
        FileNotFoundError: if there are no images.
    """
    splits = []
    for name, expected in SCENE_IMAGES.items():
        images = sorted((root / "images" / name).glob("*.jpg"))
        maps = [root / "annotations" / name / f"{image.stem}.png" for image in images]
        splits.append(Split(name, expected, [LabelMap(*paths) for paths in zip(images, maps, maps, strict=True)]))
    splits = those_there(splits, root / "images", ADE20K150Dataset.HOW_TO_GET)
    return [Conversion("ADE20K-150", splits, None, 151)]


def _words(name: str) -> frozenset[str]:
    return frozenset(" ".join(word.lower().split()) for word in name.split(",") if word.strip())


PREPARATIONS = (
    Preparation(
        "ade20k-847",
        "ADE20K_2021_17_01: index_ade20k.pkl and images/ADE/{training,validation}",
        converts(ade20k_847),
        (
            Benchmark(
                "A-847",
                config="ade20k-847.py",
                vocabulary="ade20k_847",
                data_root="data/ade/ADE20K_2021_17_01",
                prepared=("images/ADE/validation", "labels_847/validation.txt"),
                aliases=("ADEfull", "ADE847"),
            ),
        ),
    ),
    Preparation(
        "ade20k-150",
        "ADEChallengeData2016: images and annotations, each with training and validation; only checked",
        converts(ade20k_150),
        (
            Benchmark(
                "A-150",
                config="ade20k-150.py",
                vocabulary="ade20k_150",
                data_root="data/ade/ADEChallengeData2016",
                prepared=("images/validation/*.jpg", "annotations/validation/*.png"),
                aliases=("ADE150",),
            ),
        ),
    ),
)
