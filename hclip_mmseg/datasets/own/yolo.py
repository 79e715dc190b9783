"""YOLO's text files of outlines: a line an object, its class and corners as shares of width and height."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hclip_mmseg.datasets.own.coco import mask_of
from hclip_mmseg.datasets.own.source import UNLABELLED, Numbers, Sample, Source, paired
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.image_names import files_below
from hclip_mmseg.files.images import read_size
from hclip_mmseg.files.text_files import read_lines, read_text


def yolo_outlines(images: Mapping[str, Path], folder: Path) -> Source:
    """Text files of the images' names; classes from ``data.yaml`` or ``classes.txt`` in the folder or above it."""
    texts = {
        str(Path(file).with_suffix("").as_posix()): folder / file
        for file in files_below(folder)
        if file.endswith(".txt") and Path(file).name not in ("classes.txt", "labelmap.txt", "train.txt", "val.txt")
    }
    samples, notes = paired(images, texts, "text files")
    return Source("YOLO outlines", samples, read_outlines, yolo_names(folder), complete=False, notes=notes)


def yolo_names(folder: Path) -> tuple[str, ...] | None:
    """Class names in the order of YOLO's numbers; None if no file says them.

    Raises:
        ValueError: if the file is none.
    """
    for place in (folder, folder.parent):
        listed = place / "classes.txt"
        if listed.is_file():
            return tuple(line for line in read_lines(listed) if line)
        for file in (*sorted(place.glob("*.yaml")), *sorted(place.glob("*.yml"))):
            try:
                content = yaml.safe_load(read_text(file))
            except yaml.YAMLError as error:
                raise InputError(f"{file} is no YAML: {error}") from error
            names = content.get("names") if isinstance(content, dict) else None
            if isinstance(names, dict):
                names = _in_order(names, file)
            if isinstance(names, list):
                return tuple(str(name) for name in names)
    return None


def _in_order(names: Mapping[Any, Any], file: Path) -> list[Any]:
    """The names of numbers 0, 1, 2 ..., since a number that is left out would move those behind it."""
    by_text = {str(number).strip(): name for number, name in names.items()}
    lacking = next((str(number) for number in range(len(by_text)) if str(number) not in by_text), None)
    if lacking is not None:
        raise InputError(f"{file} has {len(by_text)} names, and none has number {lacking}: number them 0, 1, 2 ...")
    return [by_text[str(number)] for number in range(len(by_text))]


def read_outlines(sample: Sample) -> Numbers:
    """Numbers of an image's outlines, a later object over an earlier one.

    Raises:
        ValueError: if a line is no outline: which.
    """
    height, width = read_size(sample.image)
    numbers = np.full((height, width), UNLABELLED, np.int32)
    path: Path = sample.annotation
    for place, line in enumerate(read_lines(path), 1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) == 5:
            raise InputError(
                f"{path}, line {place} is a box: segmentation is learnt from outlines, a class and corners"
            )
        try:
            number, corners = int(parts[0]), np.array(parts[1:], float)
        except ValueError as error:
            raise InputError(f"{path}, line {place} is no outline: {error}") from error
        if len(corners) < 6 or len(corners) % 2 or corners.min() < -0.01 or corners.max() > 1.01 or number < 0:
            raise InputError(
                f"{path}, line {place} is no outline: a class, then x and y of 3 corners or more, in 0 to 1"
            )
        polygon = (corners.reshape(-1, 2) * (width, height)).ravel().tolist()
        numbers[mask_of([polygon], height, width, f"line {place} of {path}")] = number
    return numbers
