"""OV-COCO's annotation files from COCO's official ones."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from hclip_mmseg.datasets.annotation_files import read_instances
from hclip_mmseg.datasets.preparation.declaration import Preparation
from hclip_mmseg.datasets.preparation.processes import Options
from hclip_mmseg.files.writing import remove_dead_parts, whole
from hclip_mmseg.vocabularies import load_vocabulary

FILES = {
    "instances_train2017_base.json": ("instances_train2017.json", "ov_coco_48"),
    "instances_val2017_base.json": ("instances_val2017.json", "ov_coco_48"),
    "instances_val2017_novel.json": ("instances_val2017.json", "ov_coco_17"),
    "instances_val2017_all.json": ("instances_val2017.json", "ov_coco_65"),
}
"""File that is made -> the official one, and the names whose boxes it holds."""


def keep_names(instances: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """COCO instances with the boxes of some names only.

    Args:
        instances: content of an official instances file.
        names: which categories are kept.

    Returns:
        The same with those categories (under their own ids), their annotations, and the images that have one.

    Raises:
        ValueError: if a name is no category of the file.
    """
    known = {category["name"]: category["id"] for category in instances["categories"]}
    lacking = [name for name in names if name not in known]
    if lacking:
        raise ValueError(f"no categories {', '.join(lacking)} in the instances; they are not COCO's")
    kept = {known[name] for name in names}
    annotations = [annotation for annotation in instances["annotations"] if annotation["category_id"] in kept]
    images = {annotation["image_id"] for annotation in annotations}
    return {
        **instances,
        "categories": [category for category in instances["categories"] if category["id"] in kept],
        "annotations": annotations,
        "images": [image for image in instances["images"] if image["id"] in images],
    }


def prepare_ov_coco(root: str | Path) -> list[Path]:
    """Writes OV-COCO's files into ``annotations/ov-coco`` of a COCO 2017 folder.

    For training the boxes of the 48 base names; for validation those of the base names, of the 17 novel names, and of
    both together, which open-vocabulary detectors are evaluated on. Images without such a box are left out. A file
    appears whole or not at all.

    Args:
        root: holds ``annotations/instances_train2017.json`` and ``annotations/instances_val2017.json``.

    Returns:
        The files written.

    Raises:
        FileNotFoundError: if an official file is not there: which, and how to get it.
        ValueError: if one is truncated or not COCO's.
    """
    folder = Path(root) / "annotations"
    missing = sorted({source for source, _ in FILES.values() if not (folder / source).is_file()})
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {' and '.join(missing)}: unpack annotations_trainval2017.zip "
            "(images.cocodataset.org/annotations) into the folder above"
        )
    read: dict[str, dict[str, Any]] = {}
    written = []
    for name, (source, vocabulary) in FILES.items():
        if source not in read:
            read = {source: read_instances(folder / source)}
        path = folder / "ov-coco" / name
        remove_dead_parts(path.parent)
        with whole(path) as part:
            part.write_text(json.dumps(keep_names(read[source], load_vocabulary(vocabulary).names)))
        written.append(path)
    return written


def check_ov_coco(root: str | Path) -> list[str]:
    """Reads OV-COCO's files again.

    Returns:
        How many images and boxes each has, a line each.

    Raises:
        FileNotFoundError: if one is not there.
        ValueError: if one is truncated, or its categories are not the names it should have boxes of.
    """
    lines = []
    for name, (_, vocabulary) in FILES.items():
        path = Path(root) / "annotations/ov-coco" / name
        if not path.is_file():
            raise FileNotFoundError(f"no {path}; run it without --check to make it")
        content = read_instances(path)
        if {category["name"] for category in content["categories"]} != set(load_vocabulary(vocabulary).names):
            raise ValueError(f"the categories of {path} are not the names of {vocabulary}; make it anew")
        lines.append(f"{name}: {len(content['images']):,} images, {len(content['annotations']):,} boxes")
    return lines


def prepare_or_check(root: Path, options: Options) -> list[str]:
    """What was written, or found in a check, a line each; see :func:`prepare_ov_coco` and :func:`check_ov_coco`."""
    if options.check:
        return check_ov_coco(root)
    return [f"wrote {path}" for path in prepare_ov_coco(root)]


PREPARATIONS = (Preparation("ov-coco", "annotations/instances_{train,val}2017.json", prepare_or_check),)
