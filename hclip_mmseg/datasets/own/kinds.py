"""Which kind of annotation a path holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hclip_mmseg.datasets.own.coco import coco_instances, coco_panoptic
from hclip_mmseg.datasets.own.label_maps import (
    LABEL_STUDIO,
    class_masks,
    colour_label_maps,
    grey_label_maps,
    read_colour_table,
)
from hclip_mmseg.datasets.own.source import Source
from hclip_mmseg.datasets.own.yolo import yolo_outlines
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.image_names import files_below
from hclip_mmseg.files.json_files import read_json

KINDS = ("label-maps", "colours", "class-masks", "coco", "coco-panoptic", "yolo")


def open_source(
    images: Mapping[str, Path],
    annotations: Path,
    classes: Sequence[str] | None,
    *,
    kind: str | None = None,
    colours: str | None = None,
    suffix: str | None = None,
    panoptic_masks: Path | None = None,
) -> Source:
    """The annotation at a path, of whatever kind it is.

    Args:
        images: name -> file.
        annotations: a folder or a JSON file; CVAT's, Label Studio's and YOLO's exports as they were unpacked.
        classes: titles, where they were given.
        kind: one of ``KINDS``; None: found out.
        colours: see :func:`~.label_maps.read_colour_table`.
        suffix: see :func:`~.source.paired`.
        panoptic_masks: folder of COCO panoptic's label maps, if it has not the file's name.

    Raises:
        FileNotFoundError, ValueError: if there is nothing there, or nothing that is understood.
    """
    if kind is not None and kind not in KINDS:
        raise InputError(f"--kind knows {', '.join(KINDS)}, not '{kind}'")
    if not annotations.exists():
        raise FileNotFoundError(f"no annotation at {annotations.absolute()}")
    annotations, colours = _inside(annotations), colours or _table_in(annotations)
    kind = kind or _kind_of(annotations, classes, colours)
    if kind in ("coco", "coco-panoptic") and annotations.is_dir():
        raise InputError(f"--kind {kind} takes a JSON file, and {annotations} is a folder")
    if kind == "coco":
        return coco_instances(images, annotations)
    if kind == "coco-panoptic":
        return coco_panoptic(images, annotations, panoptic_masks)
    if annotations.is_file():
        raise InputError(f"--kind {kind} takes a folder, and {annotations} is a file")
    if kind == "yolo":
        return yolo_outlines(images, annotations)
    if kind == "class-masks":
        if classes is None:
            raise InputError("a mask for each class: give --classes, the names of folders or ends of the files' names")
        return class_masks(images, annotations, classes)
    if kind == "colours":
        if colours is None:
            raise InputError("label maps in colours: give --colours, a file or a text of names and #rrggbb")
        folder = annotations / "SegmentationClass"  # of CVAT, where labelmap.txt lies beside it
        return colour_label_maps(images, folder if folder.is_dir() else annotations, read_colour_table(colours), suffix)
    return grey_label_maps(images, annotations, suffix)


def _inside(path: Path) -> Path:
    """The only JSON file of a folder without images and texts, as tools export COCO's form; else the path itself."""
    if path.is_file():
        return path
    files = files_below(path)
    found = [file for file in files if file.endswith(".json")]
    others = [
        file for file in files if Path(file).suffix.lower() in (".png", ".txt") and not file.startswith("images/")
    ]
    return path / found[0] if len(found) == 1 and not others else path


def _table_in(path: Path) -> str | None:
    table = path / "labelmap.txt"
    return str(table) if table.is_file() else None


def _kind_of(path: Path, classes: Sequence[str] | None, colours: str | None) -> str:
    if path.is_file():
        content = read_json(path)
        entries = content.get("annotations") if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise InputError(
                f"{path} is no annotation in COCO's form (images, annotations, categories); export as COCO"
            )
        panoptic = any(isinstance(entry, dict) and "segments_info" in entry for entry in entries[:1])
        return "coco-panoptic" if panoptic else "coco"
    if colours:
        return "colours"
    files = files_below(path)
    drawn = [Path(file) for file in files if Path(file).suffix.lower() in (".png", ".tif", ".tiff", ".bmp", ".gif")]
    if not drawn and any(file.endswith(".txt") for file in files):
        return "yolo"
    if any(LABEL_STUDIO.fullmatch(file.stem) for file in drawn):
        return "class-masks"
    names = {title.split(",")[0].strip().lower() for title in classes or ()}
    if drawn and names and all(_says_class(file, names) for file in drawn):
        return "class-masks"
    return "label-maps"


def _says_class(file: Path, names: set[str]) -> bool:
    stem = file.stem.lower().replace("_", " ")
    return file.parts[0].lower().replace("_", " ") in names or any(stem.endswith(f" {name}") for name in names)
