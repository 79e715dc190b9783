"""PASCAL-Context's label maps with 59 and with 459 classes; a check of VOC 2012, and SBD's label maps for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hclip_mmseg.datasets.benchmark import Benchmark
from hclip_mmseg.datasets.pascal import CONTEXT_HOW_TO_GET, VOC_HOW_TO_GET, PascalContext459Dataset
from hclip_mmseg.datasets.preparation.conversion import Conversion, LabelMap, Split, those_there
from hclip_mmseg.datasets.preparation.declaration import Preparation, converts
from hclip_mmseg.datasets.preparation.tables import FromImage, FromMatlab, number_table
from hclip_mmseg.files.json_files import read_json
from hclip_mmseg.vocabularies import load_vocabulary

CONTEXT_IMAGES = {"train": 4_998, "val": 5_105}
VOC_IMAGES = {"train": 1_464, "val": 1_449}
SBD_IMAGES = 10_582
"""VOC's training images and all of SBD's that are not among VOC's for validation."""
SBD_PLACES = ("../VOCaug/dataset", "../benchmark_RELEASE/dataset", "benchmark_RELEASE/dataset")
OTHER_NAMES = {"diningtable": "table"}
"""A name among the 59 -> the same class's among the 459."""


def pascal_context(root: Path) -> list[Conversion]:
    """Label maps of the 59 classes in ``SegmentationClassContext``, of all 459 in ``SegmentationClassContext459``.

    Args:
        root: VOC2010 with ``JPEGImages``, ``trainval/*.mat`` and ``trainval_merged.json``.

    Raises:
        FileNotFoundError: if one of these is missing, or there are no images.
        ValueError: if the JSON file is not PASCAL-Context's.
    """
    lacking = [name for name in ("JPEGImages", "trainval", "trainval_merged.json") if not (root / name).exists()]
    if lacking:
        raise FileNotFoundError(f"{root} lacks {', '.join(lacking)}. {CONTEXT_HOW_TO_GET}")
    images = root / "JPEGImages"
    names = {
        phase: [name for name in of_phase if (images / f"{name}.jpg").is_file()]
        for phase, of_phase in read_phases(root / "trainval_merged.json").items()
    }
    names459 = load_vocabulary("pascal_context_459").names
    places = {
        names459.index(OTHER_NAMES.get(name, name)) + 1: label
        for label, name in enumerate(load_vocabulary("pascal_context_59").names, 1)
    }
    none = PascalContext459Dataset.IGNORE
    of_59 = number_table({number: places.get(number, 0) for number in range(len(names459) + 1)})
    of_459 = number_table({0: none, **{number: number - 1 for number in range(1, len(names459) + 1)}})

    def splits(folder: str, listed: bool = False) -> list[Split]:
        found = []
        for phase, of_phase in names.items():
            maps = [
                LabelMap(images / f"{name}.jpg", root / f"trainval/{name}.mat", root / folder / f"{name}.png")
                for name in of_phase
            ]
            lists = {root / f"ImageSets/SegmentationContext/{phase}.txt": of_phase} if listed else {}
            found.append(Split(phase, CONTEXT_IMAGES[phase], maps, lists))
        return those_there(found, images, CONTEXT_HOW_TO_GET)

    variable = ("LabelMap",)
    return [
        Conversion("PASCAL-Context-59", splits("SegmentationClassContext"), FromMatlab(of_59, variable), 60),
        Conversion(
            "PASCAL-Context-459",
            splits("SegmentationClassContext459", listed=True),
            FromMatlab(of_459, variable),
            len(names459),
            none,
        ),
    ]


def read_phases(path: Path) -> dict[str, list[str]]:
    """Images for training and for validation, by name without ending, from ``trainval_merged.json``.

    Raises:
        ValueError: if it is no such file.
    """
    names: dict[str, list[str]] = {phase: [] for phase in CONTEXT_IMAGES}
    try:
        for image in read_json(path)["images"]:
            if image["phase"] in names:
                names[image["phase"]].append(Path(image["file_name"]).stem)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not PASCAL-Context's list of images, or is truncated: {error!r}") from error
    return {phase: sorted(of_phase) for phase, of_phase in names.items()}


def pascal_voc(root: Path) -> list[Conversion]:
    """A check of VOC 2012, which is read as it is: 1..20, 0 for background, 255 for outlines.

    Where SBD lies beside it, label maps for its images too, in ``SegmentationClassAug``, and their list,
    ``ImageSets/Segmentation/trainaug.txt``.

    Raises:
        FileNotFoundError: if lists of images, label maps or all images are missing.
    """
    lists = {name: root / f"ImageSets/Segmentation/{name}.txt" for name in VOC_IMAGES}
    lacking = [path for path in (*lists.values(), root / "SegmentationClass") if not path.exists()]
    if lacking:
        raise FileNotFoundError(f"no {lacking[0]}. {VOC_HOW_TO_GET}")
    own = {name: path.read_text().split() for name, path in lists.items()}
    splits = []
    for name, of_split in own.items():
        maps = [root / f"SegmentationClass/{name}.png" for name in of_split]
        images = [root / f"JPEGImages/{name}.jpg" for name in of_split]
        there = [LabelMap(*paths) for paths in zip(images, maps, maps, strict=True) if paths[0].is_file()]
        splits.append(Split(name, VOC_IMAGES[name], there))
    splits = those_there(splits, root / "JPEGImages", VOC_HOW_TO_GET)
    conversions = [Conversion("PASCAL VOC 2012", splits, None, 21, 255)]
    sbd = next((root / place for place in SBD_PLACES if (root / place / "cls").is_dir()), None)
    for_training = any(split.name == "train" for split in splits)
    return [*conversions, *_augmented(root, sbd, own)] if sbd is not None and for_training else conversions


def _augmented(root: Path, sbd: Path, own: Mapping[str, Sequence[str]]) -> list[Conversion]:
    """VOC's own label maps for its training images, SBD's for all others but those for validation."""
    there = {path.stem for path in (root / "JPEGImages").glob("*.jpg")}
    of_voc = [name for name in own["train"] if name in there]
    others = there & {path.stem for path in (sbd / "cls").glob("*.mat")} - set(own["train"]) - set(own["val"])
    target = root / "SegmentationClassAug"

    def maps(names: Sequence[str], source: Path, suffix: str) -> list[LabelMap]:
        return [
            LabelMap(root / f"JPEGImages/{name}.jpg", source / f"{name}{suffix}", target / f"{name}.png")
            for name in names
        ]

    table = number_table({**{number: number for number in range(21)}, 255: 255})
    from_voc = Split("train", VOC_IMAGES["train"], maps(of_voc, root / "SegmentationClass", ".png"))
    lists = {root / "ImageSets/Segmentation/trainaug.txt": sorted({*of_voc, *others})}
    from_sbd = Split("SBD", SBD_IMAGES - VOC_IMAGES["train"], maps(sorted(others), sbd / "cls", ".mat"), lists)
    segmentation = ("GTcls", "Segmentation")
    return [
        Conversion("PASCAL VOC 2012 for SBD", [from_voc], FromImage(table), 21, 255),
        Conversion("SBD", [from_sbd], FromMatlab(table, segmentation), 21, 255),
    ]


CONTEXT, VOC = "data/VOCdevkit/VOC2010", "data/VOCdevkit/VOC2012"
CONTEXT_READ = ("JPEGImages", "SegmentationClassContext", "ImageSets/SegmentationContext/val.txt")
CONTEXT_459_READ = ("JPEGImages", "SegmentationClassContext459", "ImageSets/SegmentationContext/val.txt")
VOC_READ = ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation/val.txt")
PREPARATIONS = (
    Preparation(
        "pascal-context",
        "VOC2010: JPEGImages, trainval/*.mat, trainval_merged.json",
        converts(pascal_context),
        (
            Benchmark("PC-459", "pascal-context-459.py", "pascal_context_459", CONTEXT, CONTEXT_459_READ),
            Benchmark("PC-59", "pascal-context-59.py", "pascal_context_59", CONTEXT, CONTEXT_READ),
            Benchmark("PC-60", "pascal-context-60.py", "pascal_context_60", CONTEXT, CONTEXT_READ),
        ),
    ),
    Preparation(
        "pascal-voc",
        "VOC2012: JPEGImages, SegmentationClass, ImageSets; only checked; with SBD in ../VOCaug/dataset or "
        "../benchmark_RELEASE/dataset its label maps are made",
        converts(pascal_voc),
        (
            Benchmark("PAS-20", "pascal-voc-20.py", "pascal_voc_20", VOC, VOC_READ, aliases=("VOC20",)),
            Benchmark("PAS-20b", "pascal-voc-20b.py", "pascal_voc_20b", VOC, VOC_READ, aliases=("VOC20b",)),
            Benchmark("VOC21", "pascal-voc-21.py", "pascal_voc_21", VOC, VOC_READ, aliases=("PAS-21",)),
        ),
    ),
)
