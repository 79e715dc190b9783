"""Putting together what several processes wrote of one run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.json_files import read_json
from hclip_mmseg.files.writing import write_whole

_PART = re.compile(r"(?P<name>\w+)_(?P<which>\d+)-of-(?P<count>\d+)\.(json|csv)")


def part_suffix(which: int, count: int) -> str:
    """What the names of a run's files end with in the process ``which`` of ``count``, from 1; "" of one alone."""
    return "" if count == 1 else f"_{which}-of-{count}"


def merge_parts(folder: str | Path) -> list[Path]:
    """Write each file of a whole run from those of its parts: ``predictions.json`` from ``predictions_1-of-2.json`` ...

    Images of COCO's files come in the order of their ids, annotations are numbered anew, and tables follow each other.

    Args:
        folder: that the processes wrote into.

    Returns:
        The files written; those of the parts stay.

    Raises:
        ValueError: before anything is written, if there is no part, one is missing or broken, or parts are of different
            class names or share images.
    """
    folder = Path(folder)
    found: dict[str, dict[tuple[int, int], Path]] = {}
    for path in sorted(folder.glob("*-of-*")):
        match = _PART.fullmatch(path.name)
        if match is not None:
            place = int(match["which"]), int(match["count"])
            found.setdefault(f"{match['name']}{path.suffix}", {})[place] = path
    if not found:
        raise InputError(f"{folder} holds no files of parts, such as predictions_1-of-2.json")
    texts = {name: _merged(folder, name, parts) for name, parts in found.items()}
    for name, text in texts.items():
        write_whole(folder / name, text)
    return [folder / name for name in texts]


def _merged(folder: Path, name: str, parts: dict[tuple[int, int], Path]) -> str:
    counts = sorted({count for _, count in parts})
    if len(counts) > 1:
        raise InputError(
            f"{folder} holds parts of {name} of runs in {' and in '.join(map(str, counts))} parts: keep one run's"
        )
    missing = [which for which in range(1, counts[0] + 1) if (which, counts[0]) not in parts]
    if missing:
        stem, _, ending = name.rpartition(".")
        raise InputError(f"{folder} lacks {stem}{part_suffix(missing[0], counts[0])}.{ending}: that part is not done")
    paths = [parts[which, counts[0]] for which in range(1, counts[0] + 1)]
    return _merged_tables(paths) if name.endswith(".csv") else _merged_coco(paths)


def _merged_tables(paths: Sequence[Path]) -> str:
    first, *others = [path.read_text(encoding="utf-8").splitlines(keepends=True) for path in paths]
    for path, lines in zip(paths[1:], others, strict=True):
        if lines[:1] != first[:1]:
            raise InputError(f"{path} has other columns than {paths[0].name}")
    return "".join(first + [line for lines in others for line in lines[1:]])


def _merged_coco(paths: Sequence[Path]) -> str:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories: list[dict[str, Any]] | None = None
    for path in paths:
        content = read_json(path)
        try:
            own = content["images"], content["annotations"], content["categories"]
        except (TypeError, KeyError) as error:
            raise InputError(f"{path} is no file of a run: it lacks images, annotations or categories") from error
        categories = own[2] if categories is None else categories
        if own[2] != categories:
            raise InputError(f"{path} is of other class names than {paths[0].name}")
        images += own[0]
        annotations += own[1]
    if len({image["id"] for image in images}) < len(images):
        raise InputError(f"parts beside {paths[0]} share images: they are of different runs")
    images.sort(key=lambda image: image["id"])
    annotations.sort(key=lambda annotation: annotation["image_id"])  # stable: as found within an image
    if annotations and "id" in annotations[0]:
        annotations = [{**annotation, "id": number} for number, annotation in enumerate(annotations, 1)]
    whole = dict(images=images, annotations=annotations, categories=categories)
    return json.dumps(whole, ensure_ascii=False) + "\n"
