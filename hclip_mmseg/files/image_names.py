"""Image files of a folder, found by their names without suffix."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hclip_mmseg.files.errors import InputError

# of a format that Pillow lacks here (HEIC without its plugin), each is reported where it is read
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".heic",
    ".heif", ".ppm", ".pgm",
)  # fmt: skip


def files_below(folder: str | Path) -> list[str]:
    """All files in a folder and its folders, as paths from there with forward slashes, sorted; hidden ones left out."""
    return sorted(
        Path(place, name).relative_to(folder).as_posix()
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if not name.startswith(".")
    )


def images_by_name(folder: str | Path, suffix: str | None = None, what: str = "images") -> dict[str, Path]:
    """The images in a folder and its folders: path from there without the suffix -> file.

    Args:
        folder: where they lie.
        suffix: ending of their names, such as "_mask.png"; None: any of an image file, in small or capital letters.
        what: they are called in messages.

    Raises:
        FileNotFoundError: if there is no such folder, or no such file in it: what there is instead.
        ValueError: if two files have one name but for the suffix.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"no folder of {what} at {Path(folder).absolute()}")
    files = files_below(folder)
    found: dict[str, Path] = {}
    for file in files:
        name = _without(file, suffix)
        if name is None:
            continue
        if name in found:
            raise InputError(
                f"{found[name]} and {Path(folder, file)} are two {what} of one name: move one of them away, or give "
                "the suffix of those that are meant"
            )
        found[name] = Path(folder, file)
    if not found:
        raise FileNotFoundError(f"no {what} in {Path(folder).absolute()}: {_wanted(suffix)}, and {_there(files)}")
    return found


def _without(file: str, suffix: str | None) -> str | None:
    """A file's path without its suffix; None if it has another."""
    if suffix is None:
        stem, ending = os.path.splitext(file)
        return stem if ending.lower() in IMAGE_SUFFIXES else None
    return file.removesuffix(suffix) if file.endswith(suffix) else None


def _wanted(suffix: str | None) -> str:
    return "no file is an image by its suffix" if suffix is None else f"no file ends in '{suffix}'"


def _there(files: Sequence[str]) -> str:
    counts = Counter(Path(file).suffix for file in files).most_common(3)
    return "there are " + (", ".join(f"{count} in '{ending}'" for ending, count in counts) or "no files at all")
