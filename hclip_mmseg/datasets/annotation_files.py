"""Annotation files in COCO's form: read, checked entry by entry, completed where something lacks.

What people's own files lack is computed where it follows from the rest. What does not is named with file and entry,
before any work.
"""

from __future__ import annotations

import logging
import math
import reprlib
from collections.abc import Sequence
from os.path import splitext
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray
from pycocotools import mask as coco_masks

from hclip_mmseg.compat.panoptic_api import VOID
from hclip_mmseg.files.json_files import read_json
from hclip_mmseg.files.run_lengths import compressed_run_lengths

Entry = dict[str, Any]
ID = (int, float, str)
PARTS = ("images", "annotations", "categories")


def read_instances(path: str | Path, named: str | Path | None = None) -> dict[str, Any]:
    """A file of boxes (COCO's instances).

    ``bbox`` and ``area`` are computed from polygons where they lack, ``area`` else from ``bbox``; ``iscrowd`` is 0.
    Categories of one name become the first of them.

    Args:
        path: of the file.
        named: what errors call it, if not ``path``.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not in COCO's form: which entry, and what of it.
    """
    file = str(named or path)
    content = _read_parts(path, file, "COCO instances file")
    same = merge_names(content, file)
    for index, annotation in enumerate(content["annotations"]):
        where = _Where(file, "annotations", index, annotation)
        for key in ("id", "image_id", "category_id"):
            where.need(key, *ID)
        annotation["category_id"] = same.get(annotation["category_id"], annotation["category_id"])
        _complete_box(annotation, where)
    return content


def read_panoptic(path: str | Path, named: str | Path | None = None) -> dict[str, Any]:
    """A file of segments (COCO's panoptic form).

    Where an entry lacks ``file_name``, its label map is called as the image, with the ending .png; ``iscrowd`` is 0.
    Segments may lack ``bbox`` and ``area``, see :func:`boxes_and_areas`. Categories of one name become the first of
    them.

    Args:
        path: of the file.
        named: what errors call it, if not ``path``.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not in COCO's form: which entry, and what of it.
    """
    file = str(named or path)
    content = _read_parts(path, file, "panoptic annotation file in COCO's form")
    for index, category in enumerate(content["categories"]):
        _Where(file, "categories", index, category).need("isthing", int)
    same = merge_names(content, file)
    known = {category["id"] for category in content["categories"]}
    images = {image["id"]: image for image in content["images"]}
    for index, annotation in enumerate(content["annotations"]):
        where = _Where(file, "annotations", index, annotation)
        image = images.get(where.need("image_id", *ID))
        if image is None:
            raise ValueError(f"{where} is of the image {annotation['image_id']}, which the file's images do not list")
        annotation["file_name"] = annotation.get("file_name") or label_map_of(image["file_name"])
        where.need("file_name", str)
        for number, segment in enumerate(_entries(where.need("segments_info", list), f"{where}, segments_info")):
            of_segment = _Where(file, f"segments_info of image {image['id']}", number, segment)
            of_segment.need("id", int)
            category = of_segment.need("category_id", *ID)
            segment["category_id"] = same.get(category, category)
            if segment["category_id"] not in known:
                raise ValueError(
                    f"{file}: segment {segment['id']} of image {image['id']} is of category {category}, which the "
                    "file's categories do not list"
                )
            for key in ("bbox", "area"):
                if segment.get(key) is not None:
                    of_segment.need_numbers(key)
            _complete_crowd(segment)
    return content


def label_map_of(image: str) -> str:
    """What the label map of an image is called where nothing says so: as the image, with the ending .png."""
    return f"{splitext(image)[0]}.png"


def merge_names(content: dict[str, Any], file: str) -> dict[Any, Any]:
    """Make categories of one name the first of them, and say so; names lose the space around them.

    Args:
        content: of the file; its ``categories`` are changed.
        file: what messages call it.

    Returns:
        Id of a category that is gone -> id of the one that stands for it.

    Raises:
        ValueError: if one of them is a thing and another stuff.
    """
    first: dict[str, Entry] = {}
    same: dict[Any, Any] = {}
    for category in content["categories"]:
        category["name"] = category["name"].strip()
        kept = first.setdefault(category["name"], category)
        if kept is category:
            continue
        if bool(kept.get("isthing")) != bool(category.get("isthing")):
            raise ValueError(f"{file} has a thing and stuff that are both called {category['name']!r}")
        same[category["id"]] = kept["id"]
        print_log(
            f"{file}: categories {kept['id']} and {category['id']} are both called {category['name']!r}, and are "
            "taken as one",
            logger="current",
            level=logging.WARNING,
        )
    content["categories"] = list(first.values())
    return same


def boxes_and_areas(ids: NDArray[np.integer]) -> dict[int, tuple[list[int], int]]:
    """Of each segment in a label map of ids [H, W] but void: its box (x, y, width, height) and number of pixels."""
    from scipy.ndimage import find_objects

    found, places = np.unique(ids, return_inverse=True)
    places = places.reshape(ids.shape)
    areas = np.bincount(places.ravel())
    return {
        int(key): ([columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start], int(area))
        for key, area, (rows, columns) in zip(found, areas, find_objects(places + 1), strict=True)
        if key != VOID
    }


class _Where:
    """An entry of a file, and how messages call it."""

    def __init__(self, file: str, part: str, index: int, entry: Entry) -> None:
        self.file, self.part, self.index, self.entry = file, part, index, entry

    def __str__(self) -> str:
        about = "".join(f", {key} {reprlib.repr(self.entry[key])}" for key in ("id", "name") if key in self.entry)
        return f"{self.file}: entry {self.index} of {self.part}{about}"

    def need(self, key: str, *kinds: type) -> Any:
        """The value of a key; ValueError where it lacks, or is of another kind."""
        value = self.entry.get(key)
        if value is None or value == "":
            raise ValueError(f"{self} lacks {key!r}")
        if not isinstance(value, kinds):
            raise ValueError(f"{self} has {key!r} {reprlib.repr(value)}, which is no {_called(kinds)}")
        return value

    def need_numbers(self, key: str) -> None:
        """Check that ``bbox`` is four numbers, ``area`` one."""
        value = self.entry[key]
        if key == "area" and not _is_number(value):
            raise ValueError(f"{self} has 'area' {reprlib.repr(value)}, not a number")
        if key == "bbox" and not (isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))):
            raise ValueError(f"{self} has 'bbox' {reprlib.repr(value)}, not four numbers")


def _called(kinds: Sequence[type]) -> str:
    names = {int: "whole number", float: "number", str: "text", list: "list"}
    return " or ".join(names[kind] for kind in kinds if not (kind is int and float in kinds))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _read_parts(path: str | Path, file: str, kind: str) -> dict[str, Any]:
    try:
        content = read_json(path)
    except ValueError as error:
        raise ValueError(f"{file} is no {kind}, or is truncated: {error.__cause__}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} is no {kind}: it holds {reprlib.repr(content)}")
    lacking = [part for part in PARTS if part not in content]
    if lacking:
        raise ValueError(f"{file} is no {kind}: it lacks {', '.join(lacking)}")
    for part in PARTS:
        content[part] = _entries(content[part], f"{file} is no {kind}: its {part}")
    for index, category in enumerate(content["categories"]):
        where = _Where(file, "categories", index, category)
        where.need("id", *ID)
        where.need("name", str)
    for index, image in enumerate(content["images"]):
        where = _Where(file, "images", index, image)
        where.need("id", *ID)
        where.need("file_name", str)
        where.need("height", int, float)
        where.need("width", int, float)
    return content


def _entries(value: object, what: str) -> list[Entry]:
    if not isinstance(value, list):
        raise ValueError(f"{what} is {reprlib.repr(value)}, not a list of entries")
    odd = next((index for index, entry in enumerate(value) if not isinstance(entry, dict)), None)
    if odd is not None:
        raise ValueError(f"{what} has as entry {odd} {reprlib.repr(value[odd])}, which has no keys")
    return value


def _complete_box(annotation: Entry, where: _Where) -> None:
    lacks = [key for key in ("bbox", "area") if annotation.get(key) is None]
    drawn = lacks and _are_polygons(annotation.get("segmentation"))
    runs = _run_lengths(annotation.get("segmentation"), where) if lacks and not drawn else None
    if "bbox" in lacks:
        if not drawn and runs is None:
            raise ValueError(f"{where} lacks 'bbox', and has no polygon or run lengths to make it from")
        annotation["bbox"] = coco_masks.toBbox(runs).tolist() if runs else _box_of(annotation["segmentation"])
    where.need_numbers("bbox")
    if "area" in lacks:
        _, _, width, height = annotation["bbox"]
        outlined = sum(map(_area_of, annotation["segmentation"])) if drawn else width * height
        annotation["area"] = float(coco_masks.area(runs)) if runs else outlined
    where.need_numbers("area")
    _complete_crowd(annotation)


def _complete_crowd(entry: Entry) -> None:
    if entry.get("iscrowd") is None:
        entry["iscrowd"] = 0


def _are_polygons(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in value)
        and all(_is_number(number) for polygon in value for number in polygon)
    )


def _run_lengths(value: object, where: _Where) -> Entry | None:
    """COCO's compressed run lengths of a mask; None if it is none."""
    if not isinstance(value, dict):
        return None
    try:
        return compressed_run_lengths(value)
    except ValueError as error:
        raise ValueError(f"{where} lacks a box or its area, which cannot be made from its mask: {error}") from error


def _box_of(polygons: Sequence[Sequence[float]]) -> list[float]:
    across = [x for polygon in polygons for x in polygon[::2]]
    down = [y for polygon in polygons for y in polygon[1::2]]
    return [min(across), min(down), max(across) - min(across), max(down) - min(down)]


def _area_of(polygon: Sequence[float]) -> float:
    """Of a polygon x1, y1, x2, y2 ...: half the sum of its corners' cross products."""
    corners = list(zip(polygon[::2], polygon[1::2], strict=True))
    pairs = zip(corners, corners[1:] + corners[:1], strict=True)
    return abs(sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in pairs)) / 2
