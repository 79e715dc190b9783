"""Panoptic annotation in COCO's form: made for ADE20K, checked for all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hclip_mmseg.datasets.annotation_files import boxes_and_areas, read_panoptic
from hclip_mmseg.datasets.benchmark import Benchmark
from hclip_mmseg.datasets.preparation.ade20k import SCENE_IMAGES
from hclip_mmseg.datasets.preparation.conversion import Conversion, LabelMap, Split, carry_out, first, those_there
from hclip_mmseg.datasets.preparation.declaration import Preparation
from hclip_mmseg.datasets.preparation.files import Labels, read_colours, read_label_map
from hclip_mmseg.datasets.preparation.processes import Options, each_chunk
from hclip_mmseg.files.writing import remove_dead_parts, whole
from hclip_mmseg.vocabularies import load_vocabulary

SCENE_PARSING = load_vocabulary("ade20k_150")
THINGS = tuple(label for label, name in enumerate(SCENE_PARSING.names) if name not in (SCENE_PARSING.stuff or ()))
"""Those of ADE20K's 150 classes that have instances, whose files number them in this order, from 1."""
CLASSES = len(SCENE_PARSING)
SPLITS = {"training": "train", "validation": "val"}
HOW_TO_GET = (
    "ADE20K panoptic: unpack ADEChallengeData2016.zip (data.csail.mit.edu/places/ADEchallenge) and in its folder "
    "annotations_instance.tar (sceneparsing.csail.mit.edu/data/ChallengeData2017)"
)
COCO_HOW_TO_GET = (
    "COCO panoptic: unpack panoptic_annotations_trainval2017.zip (images.cocodataset.org/annotations), and the two zip "
    "files in it into annotations/"
)
MAPILLARY_HOW_TO_GET = "Mapillary Vistas 2.0 (mapillary.com/dataset/vistas): unpack it into data/mapillary"
COCO_IMAGES = {"train2017": 118_287, "val2017": 5_000}
MAPILLARY_IMAGES = {"training": 18_000, "validation": 2_000}


@dataclass(frozen=True)
class Annotation:
    """An annotation file, the folder of its label maps, and how many images it should have."""

    file: Path
    folder: Path
    expected: int


@dataclass(frozen=True)
class SegmentIds:
    """Ids of ADE20K's segments: 256 (class + 1), to which a thing's number in the image is added; 0 for void.

    Attributes:
        instances: the folder ``annotations_instance``.
    """

    instances: Path

    def __call__(self, path: Path) -> Labels:
        """Ids ``[H, W]`` from a semantic label map and the instances' file of the same name.

        Raises:
            ValueError: if one of them cannot be read, they differ in size, or hold numbers that are no class.
        """
        semantic = read_label_map(path)
        instances = self.instances / path.parent.name / path.name
        colours = read_colours(instances)
        if colours.shape[:2] != semantic.shape:
            raise ValueError(f"{instances} is not of the size of {path}")
        kind, number = colours[..., 0], colours[..., 1].astype(np.int32)
        if np.max(semantic) > CLASSES:
            raise ValueError(f"{path} has the label {np.max(semantic)}; 0 to {CLASSES} are ADE20K's")
        if np.max(kind) > len(THINGS) or (kind[number > 0] == 0).any():
            raise ValueError(f"{instances} has things of no kind, or of more than {len(THINGS)} kinds")
        thing = np.array([0, *(label + 1 for label in THINGS)])
        stuff = np.arange(CLASSES + 1)
        stuff[thing] = 0
        return np.where(number > 0, 256 * thing[kind] + number, 256 * stuff[semantic]).astype(np.uint16)


def ade20k_panoptic(root: Path, options: Options) -> list[str]:
    """Writes ``ade20k_panoptic_{train,val}`` and the JSON files of the same names into ADEChallengeData2016, or checks.

    Things are drawn over stuff; things that only the semantic label map holds are void.

    Raises:
        FileNotFoundError, ValueError: see :func:`~.conversion.carry_out`.
    """
    instances = root / "annotations_instance"
    if not instances.is_dir():
        raise FileNotFoundError(f"no folder {instances}. {HOW_TO_GET}")
    splits = []
    for name, expected in SCENE_IMAGES.items():
        target, source = root / f"ade20k_panoptic_{SPLITS[name]}", root / "annotations" / name
        images = sorted((root / "images" / name).glob("*.jpg"))
        maps = [LabelMap(image, source / f"{image.stem}.png", target / f"{image.stem}.png") for image in images]
        splits.append(Split(name, expected, maps))
    splits = those_there(splits, root / "images", HOW_TO_GET)
    missing = [
        str(path)
        for split in splits
        for path in (instances / split.name / label_map.target.name for label_map in split.maps)
        if not path.is_file()
    ]
    if missing:
        raise FileNotFoundError(f"{len(missing)} files of instances are missing: {first(missing)}")
    lines = carry_out(
        Conversion("ADE20K panoptic", splits, SegmentIds(instances), 256 * (CLASSES + 1), colours=True), options
    )
    for split in splits:
        folder = root / f"ade20k_panoptic_{SPLITS[split.name]}"
        if options.check:
            lines += check_annotation(Annotation(folder.with_suffix(".json"), folder, split.expected), options)
        else:
            _write_annotation(folder.with_suffix(".json"), split.maps, options)
    return lines


def segments(ids: NDArray[np.integer]) -> list[dict[str, Any]]:
    """What COCO's form says of the segments in a map of :class:`SegmentIds` ``[H, W]``."""
    return [
        dict(id=key, category_id=key // 256 - 1, area=area, bbox=bbox, iscrowd=0)
        for key, (bbox, area) in boxes_and_areas(ids).items()
    ]


def coco_panoptic(root: Path, options: Options) -> list[str]:
    """Checks COCO's panoptic annotation, which is read as it is; see :func:`check_annotation`."""
    folders = {root / f"annotations/panoptic_{split}": expected for split, expected in COCO_IMAGES.items()}
    files = [Annotation(folder.with_suffix(".json"), folder, expected) for folder, expected in folders.items()]
    return _check_those_there(files, COCO_HOW_TO_GET, options)


def mapillary_panoptic(root: Path, options: Options) -> list[str]:
    """Checks Mapillary Vistas' panoptic annotation of version 1.2, which is read as it is."""
    folders = {root / split / "v1.2/panoptic": expected for split, expected in MAPILLARY_IMAGES.items()}
    files = [Annotation(folder / "panoptic_2018.json", folder, expected) for folder, expected in folders.items()]
    return _check_those_there(files, MAPILLARY_HOW_TO_GET, options)


def check_annotation(annotation: Annotation, options: Options) -> list[str]:
    """Compares an annotation file with all its label maps.

    Returns:
        What was found, in a line.

    Raises:
        FileNotFoundError: if the file or label maps are not there.
        ValueError: if the file is not in COCO's form or has another number of images than the official one; or, in
            the end, if label maps do not match it: how many, and the first of them.
    """
    file = annotation.file
    if not file.is_file():
        raise FileNotFoundError(f"no {file}; run it without --check to make it")
    content = read_panoptic(file)
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    entries = [
        dict(
            seg_map_path=str(annotation.folder / described["file_name"]),
            segment_ids=[segment["id"] for segment in described["segments_info"]],
            height=sizes[described["image_id"]][0],
            width=sizes[described["image_id"]][1],
        )
        for described in content["annotations"]
    ]
    if len(entries) != annotation.expected and not options.partial:
        raise ValueError(
            f"{file} has {len(entries):,} images, not {annotation.expected:,}; --partial takes it as it is"
        )
    missing = [entry["seg_map_path"] for entry in entries if not Path(entry["seg_map_path"]).is_file()]
    if missing:
        raise FileNotFoundError(f"{len(missing)} label maps of {file} are missing: {first(missing)}")
    problems = [line for lines in each_chunk(_compare, entries, f"{file.name}: checking", options) for line in lines]
    if problems:
        raise ValueError(f"{len(problems)} of {len(entries)} label maps do not match {file}: {first(problems)}")
    return [f"{file.name}: {len(entries):,} images; all label maps match it"]


def _check_those_there(annotations: Sequence[Annotation], how_to_get: str, options: Options) -> list[str]:
    there = [annotation for annotation in annotations if annotation.file.is_file()]
    if not there:
        raise FileNotFoundError(
            f"no {' and no '.join(str(annotation.file) for annotation in annotations)}. {how_to_get}"
        )
    return [line for annotation in there for line in check_annotation(annotation, options)]


def _compare(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    # MMDetection, which others need not wait for
    from hclip_mmseg.datasets.panoptic import check_segments

    problems = []
    for entry in entries:
        try:
            check_segments(entry)
        except ValueError as error:
            problems.append(str(error))
    return problems


def _write_annotation(file: Path, maps: Sequence[LabelMap], options: Options) -> None:
    described = {
        image.name: (size, found)
        for some in each_chunk(_describe, maps, f"{file.name}: making", options)
        for image, size, found in some
    }
    images, annotations = [], []
    for number, one in enumerate(maps, 1):
        (height, width), found = described[one.image.name]
        images.append(dict(id=number, file_name=one.image.name, height=height, width=width))
        annotations.append(dict(image_id=number, file_name=one.target.name, segments_info=found))
    names = SCENE_PARSING.names
    categories = [dict(id=label, name=name, isthing=int(label in THINGS)) for label, name in enumerate(names)]
    remove_dead_parts(file.parent)
    with whole(file) as part:
        part.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))


def _describe(maps: Sequence[LabelMap]) -> list[tuple[Path, tuple[int, int], list[dict[str, Any]]]]:
    described = []
    for label_map in maps:
        colours = read_colours(label_map.target).astype(np.int32)
        size = (colours.shape[0], colours.shape[1])
        described.append((label_map.image, size, segments(colours[..., 0] + 256 * colours[..., 1])))
    return described


PREPARATIONS = (
    Preparation(
        "coco-panoptic",
        "annotations/panoptic_{train,val}2017.json and folders of the same names; only checked",
        coco_panoptic,
        (
            Benchmark(
                "COCO-panoptic",
                config="coco-panoptic_1024x1024.py",
                vocabulary="coco_panoptic_133",
                data_root="data/coco",
                prepared=(
                    "val2017/*.jpg",
                    "annotations/panoptic_val2017.json",
                    "annotations/panoptic_val2017/*.png",
                ),
                scope="mmdet",
            ),
        ),
    ),
    Preparation(
        "ade20k-panoptic",
        "ADEChallengeData2016: images, annotations, annotations_instance, each with training and validation",
        ade20k_panoptic,
        (
            Benchmark(
                "ADE20K-panoptic",
                config="ade20k-panoptic.py",
                vocabulary="ade20k_150",
                data_root="data/ade/ADEChallengeData2016",
                prepared=("images/validation/*.jpg", "ade20k_panoptic_val.json", "ade20k_panoptic_val/*.png"),
                scope="mmdet",
            ),
        ),
    ),
    Preparation(
        "mapillary-panoptic",
        "{training,validation}/v1.2/panoptic of version 2.0; only checked",
        mapillary_panoptic,
        (
            Benchmark(
                "Mapillary-panoptic",
                config="mapillary-panoptic.py",
                vocabulary="mapillary_panoptic_65",
                data_root="data/mapillary",
                prepared=(
                    "validation/images/*.jpg",
                    "validation/v1.2/panoptic/panoptic_2018.json",
                    "validation/v1.2/panoptic/*.png",
                ),
                scope="mmdet",
            ),
        ),
    ),
)
