"""Label maps: grey or palette images of numbers, images in colours, one mask a class."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hclip_mmseg.datasets.label_maps import decode_label_map
from hclip_mmseg.datasets.own.source import UNLABELLED, Numbers, Sample, Source, paired, shown_some
from hclip_mmseg.files.errors import InputError, one_line
from hclip_mmseg.files.image_names import images_by_name
from hclip_mmseg.files.json_files import read_json
from hclip_mmseg.files.text_files import read_lines

LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp")
COLOUR = re.compile(r"#(?P<hex>[0-9a-fA-F]{6})\b|(?P<rgb>\d{1,3}\s*[,;\s]\s*\d{1,3}\s*[,;\s]\s*\d{1,3})(?!\d)")
LABEL_STUDIO = re.compile(r"task-(?P<task>\d+)-annotation-.*-tag-(?P<tag>.+)-\d+")


@dataclass(frozen=True)
class ColourTable:
    """Colours of classes.

    Attributes:
        names: of the classes.
        colours: (red, green, blue) of each.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]


def grey_label_maps(images: Mapping[str, Path], folder: Path, suffix: str | None = None) -> Source:
    """Images of numbers, of any depth; a colour image whose channels are the same is one too."""
    samples, notes = paired(images, images_by_name(folder, None, "label maps"), "label maps", suffix)
    return Source("label maps", samples, read_grey, notes=notes)


def colour_label_maps(
    images: Mapping[str, Path], folder: Path, table: ColourTable, suffix: str | None = None
) -> Source:
    """Images whose colours stand for classes, palette images of such colours too."""
    samples, notes = paired(images, images_by_name(folder, None, "label maps"), "label maps", suffix)
    return Source("label maps in colours", samples, partial(read_coloured, table=table), table.names, notes=notes)


def class_masks(images: Mapping[str, Path], folder: Path, classes: Sequence[str]) -> Source:
    """One mask for each class: ``<class>/<image>.png`` or ``<image>_<class>.png``; any number but 0 is the class.

    Label Studio's masks (``task-1-annotation-..-tag-<class>-0.png``) do not name their image; its JSON export, laid
    into the same folder, does.

    Raises:
        FileNotFoundError, ValueError: if no mask belongs to a class and an image.
    """
    names = tuple(title.split(",")[0].strip() for title in classes)
    files = images_by_name(folder, None, "masks")
    tasks = _label_studio_tasks(folder) if any(LABEL_STUDIO.fullmatch(Path(name).name) for name in files) else {}
    by_image: dict[str, list[tuple[int, Path]]] = {}
    strangers = []
    for name, file in files.items():
        found = _class_and_image(name, names, tasks)
        if found is None:
            strangers.append(name)
        else:
            by_image.setdefault(found[1], []).append((found[0], file))
    if not by_image:
        raise FileNotFoundError(
            f"none of the {len(files)} masks in {folder} is of a class in --classes, such as {strangers[0]}: a mask's "
            "folder or the end of its name is the class"
        )
    samples, notes = paired(images, by_image, "masks")
    if strangers:
        shown = shown_some(strangers)
        notes = (*notes, f"{len(strangers)} masks are of no class in --classes and are left out: {shown}")
    ordered = [Sample(sample.name, sample.image, tuple(sorted(sample.annotation))) for sample in samples]
    note = "where masks of two classes overlap, the later class in the list is taken"
    return Source("a mask for each class", ordered, read_class_masks, names, complete=False, notes=(*notes, note))


def read_grey(sample: Sample) -> Numbers:
    """The numbers of a label map.

    Raises:
        ValueError: if it is compressed with losses, or in colours.
    """
    path: Path = sample.annotation
    _check_lossless(path)
    pixels = _open(path)
    if pixels.ndim == 3:  # of a palette image these are the places in it
        if (pixels[..., :3] == pixels[..., :1]).all() and pixels.shape[2] >= 3:
            return pixels[..., 0].astype(np.int32)
        if pixels.shape[2] == 2:
            return pixels[..., 0].astype(np.int32)
        raise InputError(f"{path} is in colours, and nothing says which class each stands for: {_suggested(pixels)}")
    return decode_label_map(path.read_bytes(), str(path)).astype(np.int32)


def read_coloured(sample: Sample, table: ColourTable) -> Numbers:
    """The place of each pixel's colour in a table.

    Raises:
        ValueError: if colours are not in it: which, and how many pixels.
    """
    path: Path = sample.annotation
    _check_lossless(path)
    pixels = _open(path, "RGB")
    packed = _packed(pixels)
    numbers = np.full(packed.shape, UNLABELLED, np.int32)
    for number, colour in enumerate(table.colours):
        numbers[packed == _packed(np.array(colour, np.uint8))] = number
    unknown = numbers == UNLABELLED
    if unknown.any():
        raise InputError(
            f"{path} has colours that are not in the table, such as {_named(pixels[unknown][0])}, at {unknown.sum()} "
            "pixels; add them to it (outlines of mixed colours come from drawing or resizing with smooth edges)"
        )
    return numbers


def read_class_masks(sample: Sample) -> Numbers:
    """Numbers from masks (class, file), a later one over an earlier one."""
    numbers: Numbers | None = None
    for number, path in sample.annotation:
        _check_lossless(path)
        mask = _open(path, "L") > 0
        if numbers is None:
            numbers = np.full(mask.shape, UNLABELLED, np.int32)
        if mask.shape != numbers.shape:
            raise InputError(f"{path} is {mask.shape[1]} x {mask.shape[0]}, another mask of its image is not")
        numbers[mask] = number
    assert numbers is not None
    return numbers


def read_colour_table(source: str) -> ColourTable:
    """Colours of classes from a file or a text.

    A file has a line a class, with its name and its colour as ``#ff0000`` or three numbers, in any order: CVAT's
    ``labelmap.txt``, ``class_dict.csv`` and the like. A text has them behind each other: "crack #ff0000, rust #00ff00".

    Raises:
        ValueError: if a line has no name, there is no colour, or two classes have one colour.
    """
    path = Path(source)
    if path.is_file():
        lines = read_lines(path)
    elif "#" in source:
        lines = source.split(",")
    else:
        raise FileNotFoundError(f"no file of colours at {path.absolute()}; in a text, colours are #rrggbb")
    names, colours = [], []
    for line in lines:
        colour = COLOUR.search(line)
        if colour is None:
            continue
        name = line.replace(colour[0], " ").split("::")[0].strip(" \t:,;=\"'")
        if not name:
            raise InputError(f"{source}: '{line.strip()}' has a colour and no name")
        names.append(name)
        colours.append(_rgb(colour))
    if not names:
        raise InputError(f"{source} has no colours: a line a class, its name and #rrggbb or three numbers")
    twice = next((colour for colour in colours if colours.count(colour) > 1), None)
    if twice is not None:
        same = [name for name, colour in zip(names, colours, strict=True) if colour == twice]
        raise InputError(f"{source} gives the colour {twice} to {shown_some(same)}")
    return ColourTable(tuple(names), tuple(colours))


def _rgb(found: re.Match[str]) -> tuple[int, int, int]:
    if found["hex"]:
        red, green, blue = bytes.fromhex(found["hex"])
    else:
        red, green, blue = (int(part) for part in re.findall(r"\d+", found["rgb"]))
    if max(red, green, blue) > 255:
        raise InputError(f"the colour {red}, {green}, {blue} is none: three numbers of 0 to 255")
    return red, green, blue


def _class_and_image(name: str, classes: Sequence[str], tasks: Mapping[str, str]) -> tuple[int, str] | None:
    """(class, image's name) of a mask's name; None if it says neither."""
    plain = [_plain(each) for each in classes]
    of_task = LABEL_STUDIO.fullmatch(Path(name).name)
    if of_task:
        image, tag = tasks.get(of_task["task"]), _plain(of_task["tag"])
        return (plain.index(tag), image) if image is not None and tag in plain else None
    folder, _, rest = name.partition("/")
    if rest and _plain(folder) in plain:
        return plain.index(_plain(folder)), rest
    for place, each in sorted(enumerate(plain), key=lambda pair: -len(pair[1])):
        if _plain(name).endswith(f"_{each}") and len(name) > len(each) + 1:
            return place, name[: -len(each) - 1]
    return None


def _plain(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")


def _label_studio_tasks(folder: Path) -> dict[str, str]:
    """Number of a task -> its image's name, from Label Studio's JSON export in a folder."""
    exports = sorted(folder.glob("*.json"))
    if not exports:
        raise FileNotFoundError(
            f"{folder} has Label Studio's masks, which do not name their images: lay its JSON export beside them, or "
            "export as COCO"
        )
    content = read_json(exports[0])
    entries = content if isinstance(content, list) else []
    files = {
        str(entry.get("id")): str(entry.get("file_upload") or next(iter((entry.get("data") or {}).values()), ""))
        for entry in entries
        if isinstance(entry, dict)
    }
    return {task: without_upload_prefix(Path(file.replace("\\", "/")).stem) for task, file in files.items()}


def without_upload_prefix(name: str) -> str:
    """A file's name without what Label Studio puts before it: "1a2b3c4d-photo" -> "photo"."""
    return re.sub(r"^[0-9a-f]{8}-", "", name)


def _check_lossless(path: Path) -> None:
    if path.suffix.lower() in LOSSY:
        raise InputError(f"{path} is compressed with losses, which change labels at every edge: save label maps as PNG")


def _open(path: Path, mode: str | None = None) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode) if mode else image)
    except Exception as error:  # what a damaged image makes its decoder raise is anybody's guess
        raise InputError(f"{path} is no image, or a truncated one: {one_line(error)}") from error


def _packed(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    wide = pixels.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _named(pixel: NDArray[np.uint8]) -> str:
    return "#" + "".join(f"{int(value):02x}" for value in pixel[:3])


def _suggested(pixels: NDArray[np.uint8]) -> str:
    """The option that would give the most frequent colours names."""
    colours, counts = np.unique(pixels[..., :3].reshape(-1, 3), axis=0, return_counts=True)
    frequent = [_named(colours[place]) for place in np.argsort(-counts)[:6]]
    table = ", ".join(f"NAME {colour}" for colour in frequent)
    return f'give --colours "{table}" or a file of a line a class (it has {len(colours)} colours)'
