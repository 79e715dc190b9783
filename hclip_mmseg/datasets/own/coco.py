"""COCO's instance and panoptic files, as COCO, CVAT, Label Studio and many others write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from pycocotools import mask as coco_masks

from hclip_mmseg.datasets.annotation_files import read_instances, read_panoptic
from hclip_mmseg.datasets.own.label_maps import without_upload_prefix
from hclip_mmseg.datasets.own.source import UNLABELLED, Numbers, Sample, Source, shown_some
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.images import read_size
from hclip_mmseg.files.run_lengths import compressed_run_lengths


def coco_instances(images: Mapping[str, Path], file: Path) -> Source:
    """Objects outlined by polygons or run lengths; crowds are pixels of their class too.

    Where objects overlap, the smaller one lies above.

    Raises:
        ValueError: if the file is not in COCO's form, or no object has an outline.
        FileNotFoundError: if none of its images is there.
    """
    content = read_instances(file)
    names, number_of = _categories(content)
    objects: dict[Any, list[tuple[float, int, Any, str]]] = {}
    without = 0
    for annotation in content["annotations"]:
        outline = annotation.get("segmentation")
        category = annotation["category_id"]
        if category not in number_of:
            raise InputError(f"{file}: annotation {annotation['id']} is of category {category}, which is not listed")
        if not outline:
            without += 1
            continue
        what = f"annotation {annotation['id']} of {file}"
        drawn = (float(annotation["area"]), number_of[category], outline, what)
        objects.setdefault(annotation["image_id"], []).append(drawn)
    if not objects:
        raise InputError(
            f"{file} has {without} boxes and no outlines: segmentation is learnt from outlines; boxes train the "
            "detector (docs/tutorials/own_boxes.md)"
        )
    notes = [f"{without} annotations have a box and no outline, and are left out"] if without else []
    listed = {image["id"] for image in content["images"]}
    if strangers := [key for key in objects if key not in listed]:
        shown = shown_some([str(key) for key in strangers])
        notes.append(f"objects of {len(strangers)} images that {file.name} does not list are left out: {shown}")
    samples, more = _samples(images, content, file, lambda image: _drawing(image, objects.get(image["id"], [])))
    return Source("COCO instances", samples, read_objects, names, complete=False, notes=(*notes, *more))


def coco_panoptic(images: Mapping[str, Path], file: Path, folder: Path | None = None) -> Source:
    """Segments by their ids in PNG files, which lie in the folder of the file's name, or in one that is given.

    Raises:
        ValueError: if the file is not in COCO's form.
        FileNotFoundError: if images or label maps are not there.
    """
    content = read_panoptic(file)
    names, number_of = _categories(content)
    folder = folder or file.with_suffix("")
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder} of {file.name}'s label maps; give it by --panoptic-masks")
    of_image = {annotation["image_id"]: annotation for annotation in content["annotations"]}
    lacking = [image["file_name"] for image in content["images"] if image["id"] not in of_image]
    if lacking:
        raise InputError(f"{file} has no annotation of {len(lacking)} images: {shown_some(lacking)}")

    def segments(image: Mapping[str, Any]) -> tuple[Path, dict[int, int]]:
        entry = of_image[image["id"]]
        return folder / entry["file_name"], {
            segment["id"]: number_of[segment["category_id"]] for segment in entry["segments_info"]
        }

    samples, notes = _samples(images, content, file, segments)
    return Source("COCO panoptic", samples, read_segments, names, notes=notes)


def read_objects(sample: Sample) -> Numbers:
    """Numbers from (height, width, objects), large objects first.

    Raises:
        ValueError: if an outline is none, or the file says another size than the image has.
    """
    height, width, objects = sample.annotation
    rows, columns = read_size(sample.image)
    if (height, width) != (rows, columns):
        raise InputError(
            f"the annotation file says that {sample.image} is {width} x {height} pixels, the image has {columns} x "
            f"{rows}: they must have one size, as the pixels are stored (EXIF turns nothing)"
        )
    numbers = np.full((height, width), UNLABELLED, np.int32)
    for _, number, outline, what in sorted(objects, key=lambda drawn: -drawn[0]):
        numbers[mask_of(outline, height, width, f"{what}, in {sample.image},")] = number
    return numbers


def mask_of(outline: Any, height: int, width: int, what: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Pixels inside polygons [[x1, y1, x2, y2, ...], ...], or in run lengths, whose ``counts`` are a list or a text.

    Raises:
        ValueError: if it is neither, or the run lengths are damaged.
    """
    try:
        if isinstance(outline, list):
            polygons = [list(map(float, polygon)) for polygon in outline if len(polygon) >= 6]
            if not polygons:
                raise ValueError("its polygons have fewer than 3 corners")
            runs = coco_masks.merge(coco_masks.frPyObjects(polygons, height, width))
        else:
            runs = compressed_run_lengths(outline)
            rows, columns = runs["size"]
            if (rows, columns) != (height, width):
                raise ValueError(f"its run lengths are of {columns} x {rows} pixels, the image is {width} x {height}")
        return coco_masks.decode(runs).astype(bool)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"the outline of {what} cannot be drawn: {error}") from error


def read_segments(sample: Sample) -> Numbers:
    """Numbers from (PNG file of ids, id -> number); 0 is no segment.

    Raises:
        ValueError: if the file holds a segment that is not listed.
    """
    from hclip_mmseg.compat.panoptic_api import VOID, rgb2id
    from hclip_mmseg.datasets.preparation.files import read_colours

    path, numbers = sample.annotation
    ids = rgb2id(read_colours(path)[..., :3])
    found, places = np.unique(ids, return_inverse=True)
    stranger = next((int(key) for key in found if key != VOID and int(key) not in numbers), None)
    if stranger is not None:
        raise InputError(f"{path} has the segment {stranger}, which its annotation file does not list")
    values = np.array([numbers.get(int(key), UNLABELLED) for key in found], np.int32)
    return values[places].reshape(ids.shape)


def _categories(content: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[Any, int]]:
    categories = content["categories"]
    return tuple(category["name"] for category in categories), {
        category["id"]: number for number, category in enumerate(categories)
    }


def _drawing(image: Mapping[str, Any], objects: Sequence[Any]) -> tuple[int, int, tuple[Any, ...]]:
    return int(image["height"]), int(image["width"]), tuple(objects)


def _samples(
    images: Mapping[str, Path], content: Mapping[str, Any], file: Path, annotation: Any
) -> tuple[list[Sample], tuple[str, ...]]:
    """The images of a file that are there."""
    short = Counter(Path(name).name for name in images)
    by_short = {Path(name).name: name for name in images if short[Path(name).name] == 1}
    samples, lacking, taken = [], [], set()
    for image in content["images"]:
        name = _name_in(images, by_short, image["file_name"])
        if name is None:
            lacking.append(image["file_name"])
            continue
        if name in taken:
            raise InputError(f"{file} lists the image {image['file_name']} twice")
        taken.add(name)
        samples.append(Sample(name, images[name], annotation(image)))
    if not samples:
        raise FileNotFoundError(
            f"none of the {len(lacking)} images of {file} is in --images, such as {shown_some(lacking, 1)}"
        )
    notes = []
    if lacking:
        notes.append(
            f"{len(lacking)} images of {file.name} are not in --images and are left out: {shown_some(lacking)}"
        )
    others = [name for name in images if name not in taken]
    if others:
        notes.append(f"{len(others)} images are not in {file.name} and are left out: {shown_some(others)}")
    return samples, tuple(notes)


def _name_in(images: Mapping[str, Path], by_short: Mapping[str, str], file_name: str) -> str | None:
    """The image that a file calls by a path of its own: the same, of the same name, or as it was uploaded."""
    path = Path(unquote(file_name).replace("\\", "/")).with_suffix("")
    if path.as_posix() in images:
        return path.as_posix()
    return by_short.get(path.name) or by_short.get(without_upload_prefix(path.name))
