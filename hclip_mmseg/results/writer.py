"""Results as files: some for each image, some for the whole run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.result_names import readable
from hclip_mmseg.files.writing import write_image, write_whole
from hclip_mmseg.results import coco
from hclip_mmseg.results.result import Result
from hclip_mmseg.visualization import class_shares, name_colours, write_label_map

FORMATS = {
    "labels": "NAME_labels.png, the label map in the class names' colours, and NAME.json",
    "overlay": "NAME_overlay.png, the image with what was found",
    "json": "NAME.json: the classes, segments or boxes found",
    "coco": "predictions.json: regions with run lengths, or boxes, of all images",
    "polygons": "polygons.json: the same with polygons",
    "panoptic": "panoptic.json and the folder panoptic, in the form of COCO panoptic",
    "csv": "results.csv: a row for each class, segment or box of all images",
}
"""Format -> what it writes."""
OF_LABELS = ("labels", "polygons", "panoptic")
"""Formats that boxes do not have."""
OF_RUNS = ("predictions", "polygons", "panoptic")
"""Names of the JSON files that hold a whole run."""
COLUMNS = ("image", "index", "name", "score", "area", "share", "x", "y", "width", "height")


def check_formats(formats: str | Sequence[str]) -> tuple[str, ...]:
    """Formats from a list, or a text with commas.

    Raises:
        ValueError: if there is none, or one is unknown.
    """
    given = formats.split(",") if isinstance(formats, str) else formats
    if not isinstance(given, Iterable) or not all(isinstance(part, str) for part in given):
        raise InputError(f"formats are a text with commas or a list of texts, not {formats!r}")
    wanted = tuple(dict.fromkeys(name for part in given if (name := part.strip().lower())))
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown or not wanted:
        said = f"no format '{unknown[0]}'" if unknown else "no format given"
        raise InputError(f"{said}; there are {', '.join(FORMATS)}")
    return wanted


def usual_formats(*, boxes: bool = False, panoptic: bool = False) -> tuple[str, ...]:
    """The formats of results where none are chosen.

    Args:
        boxes: whether they are a detector's.
        panoptic: whether they have segments.
    """
    if boxes:
        return ("overlay", "json")
    return ("panoptic", "overlay") if panoptic else ("labels", "overlay")


def check_box_formats(formats: Sequence[str]) -> None:
    """Check that boxes have such formats.

    Raises:
        ValueError: which of them they do not have.
    """
    missing = [name for name in formats if name in OF_LABELS]
    if missing:
        raise InputError(f"boxes have no format '{missing[0]}'; there are overlay, json, coco and csv")


class ResultWriter:
    """Writes results into a folder; those files that hold a whole run when it ends, or is broken off.

    Args:
        folder: made with the first result.
        formats: of :data:`FORMATS`.
        part: what the names of those files end with that hold a whole run, where several processes share it.
        drawing: arguments of :meth:`Result.overlay`.
    """

    def __init__(self, folder: str | Path, formats: Sequence[str], part: str = "", **drawing: Any) -> None:
        self.folder = Path(folder)
        self.formats = tuple(formats)
        self.part = part
        self.drawing = drawing
        self._images: list[dict[str, Any]] = []
        self._found: dict[str, list[dict[str, Any]]] = {name: [] for name in ("coco", "polygons", "panoptic", "csv")}
        self._categories: list[dict[str, Any]] = []

    def __enter__(self) -> ResultWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def add(self, result: Result, name: str, image_id: int | None = None, file_name: str | None = None) -> None:
        """Write one image's files.

        Args:
            result: in the same class names as those before it.
            name: what its files are called.
            image_id: in COCO's forms; None: its place in the run, from 1.
            file_name: what COCO's forms call the image; None: the name of its file.

        Raises:
            ValueError: if such a result does not have one of the formats.
        """
        if result.labels is None:
            check_box_formats(self.formats)
        self.folder.mkdir(parents=True, exist_ok=True)
        if name in OF_RUNS:
            name = f"{name}_image"
        if "labels" in self.formats:
            assert result.labels is not None
            write_label_map(self.folder / f"{name}_labels.png", result.labels, result.vocabulary, palette=True)
        if "overlay" in self.formats:
            drawn = result.overlay(**self.drawing)
            write_image(self.folder / f"{name}_overlay.png", drawn)
        if {"labels", "json"} & {*self.formats}:
            write_json(self.folder / f"{name}.json", describe(result))
        place = len(self._images) + 1 if image_id is None else image_id
        self._collect(result, name, place, file_name or readable(Path(result.source).name))

    def _collect(self, result: Result, name: str, image_id: int, file_name: str) -> None:
        """Keep what belongs into the files of the run."""
        height, width = result.image.shape[:2]
        if not self._categories and {*self._found} & {*self.formats}:
            self._categories = coco.categories(result.vocabulary, result.things)
        self._images.append(dict(id=image_id, file_name=file_name, width=width, height=height))
        if {"coco", "csv"} & {*self.formats}:
            entries = result.to_coco(image_id)
            self._found["coco"] += entries if "coco" in self.formats else []
            self._found["csv"] += _rows(result, entries) if "csv" in self.formats else []
        if "polygons" in self.formats:
            self._found["polygons"] += result.to_coco(image_id, polygons=True)
        if "panoptic" in self.formats:
            colours, info = result.to_panoptic()
            file = self.folder / "panoptic" / f"{name}.png"
            file.parent.mkdir(exist_ok=True)
            write_image(file, colours)
            self._found["panoptic"].append(dict(image_id=image_id, file_name=file.name, segments_info=info))

    def close(self) -> None:
        """Write the files of the whole run; nothing if no image was done."""
        if not self._images:
            return
        for name, file in zip(("coco", "polygons", "panoptic"), OF_RUNS, strict=True):
            if name in self.formats:
                entries = self._found[name]
                if name != "panoptic":  # an annotation of COCO has an id of its own
                    entries = [dict(id=number, **entry) for number, entry in enumerate(entries, 1)]
                whole = dict(images=self._images, annotations=entries, categories=self._categories)
                write_whole(self.folder / f"{file}{self.part}.json", json.dumps(whole, ensure_ascii=False) + "\n")
        if "csv" in self.formats:
            text = io.StringIO()
            table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(self._found["csv"])
            write_whole(self.folder / f"results{self.part}.csv", text.getvalue())


def write_json(path: str | Path, content: Any) -> None:
    """Write a JSON file, whole, with names as they are."""
    write_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def describe(result: Result) -> dict[str, Any]:
    """What was found in an image, for a JSON file.

    Returns:
        ``source``, ``width``, ``height``; ``classes`` (index, name, colour, share, threshold, presence) of a label
        map, ``segments`` (id, index, name, title, thing, share) of a panoptic result, ``boxes`` (index, name, score,
        box: x1, y1, x2, y2) of a detector.
    """
    height, width = result.image.shape[:2]
    names, found = result.vocabulary, dict[str, Any](source=readable(result.source), width=width, height=height)
    if result.labels is not None:
        colours = name_colours(names).tolist()
        found["classes"] = [
            dict(index=index, name=names[index], colour=colours[index], share=round(share, 6),
                 threshold=result.thresholds[index] if result.thresholds else None,
                 presence=round(result.presence[names[index]], 4) if names[index] in result.presence else None)
            for index, share in class_shares(result.labels, names)
        ]  # fmt: skip
    if result.ids is not None:
        found["segments"] = [
            dict(id=segment.id, index=segment.label, name=names[segment.label], title=segment.title,
                 thing=segment.thing, share=round(segment.share, 6))
            for segment in result.segments
        ]  # fmt: skip
    if result.boxes is not None:
        boxes = zip(
            result.boxes.labels.tolist(), result.boxes.scores.tolist(), result.boxes.corners.tolist(), strict=True
        )
        found["boxes"] = [
            dict(index=label, name=names[label], score=round(score, 4), box=[round(side, 1) for side in box])
            for label, score, box in boxes
        ]
    return found


def _rows(result: Result, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """COCO's results as rows of a table."""
    pixels = result.image.shape[0] * result.image.shape[1]
    return [
        dict(
            image=readable(result.source),
            index=entry["category_id"] - 1,
            name=result.vocabulary[entry["category_id"] - 1],
            score=entry["score"],
            area=entry["area"],
            share=round(entry["area"] / pixels, 6),
            **dict(zip(("x", "y", "width", "height"), entry["bbox"], strict=True)),
        )
        for entry in entries
    ]
