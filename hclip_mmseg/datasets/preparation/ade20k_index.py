"""The index of ADE20K's full annotation, read as data: nothing in the pickle is executed."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hclip_mmseg.files.showing import with_article

# what numpy's arrays are pickled with; the objects made here in their place only keep what they are given
ARRAY_PARTS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
}


@dataclass(frozen=True)
class ADE20KIndex:
    """What is read of the index.

    Attributes:
        images: of each its path below ``images/ADE``, such as
            'validation/cultural/apse__indoor/ADE_val_00000001.jpg'.
        objects: names of all classes; a number n in an image's annotation means ``objects[n - 1]``.
    """

    images: tuple[PurePosixPath, ...]
    objects: tuple[str, ...]


def read_index(path: str | Path) -> ADE20KIndex:
    """Reads ``index_ade20k.pkl``.

    Raises:
        ValueError: if it is no such index, is truncated, or refers to anything but lists, strings and arrays.
    """
    content = Path(path).read_bytes()
    try:
        index = _DataUnpickler(io.BytesIO(content)).load()
    except _Refused as error:
        raise ValueError(f"{path} is not read: {error}") from error
    # what a damaged pickle makes the reader raise is anybody's guess
    except Exception as error:
        raise ValueError(f"{path} is no pickled index, or a truncated one: {error}") from error
    if not isinstance(index, dict):
        raise ValueError(f"{path} holds {with_article(type(index).__name__)}, not ADE20K's index")
    try:
        files, folders, objects = (_strings(index, key, path) for key in ("filename", "folder", "objectnames"))
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} has damaged lists of strings: {error}") from error
    if len(files) != len(folders):
        raise ValueError(f"{path} names {len(files)} images and {len(folders)} folders")
    return ADE20KIndex(tuple(_below_images(*pair, path) for pair in zip(folders, files, strict=True)), objects)


class _Refused(pickle.UnpicklingError):
    pass


class _Kept:
    """Stands for an array or a part of one: keeps what it is made from, computes nothing."""

    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> _Kept:
        kept = super().__new__(cls)
        kept.args, kept.state = args, None
        return kept

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type[_Kept]:
        if (module, name) not in ARRAY_PARTS:
            raise _Refused(f"it refers to {module}.{name}, which no index of ADE20K needs; get it from its owners")
        return _Kept

    def persistent_load(self, pid: Any) -> None:
        raise _Refused("it refers to objects outside the file")


def _strings(index: dict[Any, Any], key: str, path: str | Path) -> tuple[str, ...]:
    value = index.get(key)
    if isinstance(value, _Kept) and isinstance(value.state, tuple) and len(value.state) == 5:
        value = _items(value.state)
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{path} has no list of strings under '{key}', so it is not ADE20K's index")
    return tuple(value)


def _items(array: tuple[Any, ...]) -> list[Any] | None:
    """The items of an array of objects or of strings, from (version, shape, type, order, content); else None."""
    kind, content = array[2], array[4]
    if isinstance(content, _Kept) and content.args and isinstance(content.args[0], str):
        content = content.args[0].encode("latin1")  # how old pickles hold bytes
    if isinstance(content, bytes) and isinstance(kind, _Kept) and kind.args and isinstance(kind.state, tuple):
        width = re.fullmatch(r"U(\d+)", str(kind.args[0]))
        order = {"<": "little", ">": "big"}.get(kind.state[1])
        if width is None or order is None or int(width[1]) == 0:
            return None
        step, coding = 4 * int(width[1]), f"utf-32-{order[0]}e"
        return [content[at : at + step].decode(coding).rstrip("\0") for at in range(0, len(content), step)]
    return content if isinstance(content, list) else None


def _below_images(folder: str, file: str, path: str | Path) -> PurePosixPath:
    """'ADE20K_2021_17_01/images/ADE/training/...' -> 'training/.../<file>'; nothing that leads elsewhere."""
    image = PurePosixPath(folder.replace("\\", "/"), file)
    parts = image.parts
    if "ADE" not in parts or _leads_away(parts):
        raise ValueError(f"{path} places an image at {image}, which is not below images/ADE")
    below = PurePosixPath(*parts[parts.index("ADE") + 1 :])
    if below.suffix != ".jpg" or below.parts[0] not in ("training", "validation"):
        raise ValueError(f"{path} lists {image}, which is no image for training or validation")
    return below


def _leads_away(parts: Iterable[str]) -> bool:
    return any(part == ".." or part.startswith("/") or "\0" in part for part in parts)
