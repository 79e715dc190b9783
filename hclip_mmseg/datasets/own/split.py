"""Which images are for training and which for validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hclip_mmseg.datasets.own.source import shown_some
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.image_names import IMAGE_SUFFIXES
from hclip_mmseg.files.text_files import read_lines

FOLDERS = ("val", "valid", "validation", "test")


def split(names: Sequence[str], val: str | None, seed: int = 0) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Images for training ("train") and for validation ("val").

    Args:
        names: of the images, paths below their folder.
        val: a share such as "0.2", drawn by the seed; a text file that lists the images; folders with commas between;
            None: a folder called val, if there is one, else a fifth.
        seed: of the draw.

    Returns:
        The names of each part, and what was assumed.

    Raises:
        ValueError: if it is none of these, or leaves a part empty.
    """
    assumed = []
    folders = sorted({name.partition("/")[0] for name in names if "/" in name})
    if val is None:
        own = [folder for folder in folders if folder.lower() in FOLDERS]
        val = ",".join(own) if own else "0.2"
        how = f"the images in {val}" if own else f"a fifth of the images, drawn by seed {seed},"
        assumed.append(f"{how} are for validation (otherwise: --val SHARE, FOLDERS or a file that lists them)")
    chosen = _chosen(names, val, folders, seed)
    parts = {
        "train": [name for name in names if name not in chosen],
        "val": [name for name in names if name in chosen],
    }
    for part, members in parts.items():
        if not members:
            raise InputError(f"--val {val} leaves no image of {len(names)} for {part}")
    return parts, tuple(assumed)


def _chosen(names: Sequence[str], val: str, folders: Sequence[str], seed: int) -> set[str]:
    try:
        share = float(val)
    except ValueError:
        share = None
    if share is not None:
        if not 0 < share < 1:
            raise InputError(f"--val is a share between 0 and 1, a file or folders, not {val}")
        count = min(max(round(share * len(names)), 1), len(names) - 1)
        return {names[index] for index in np.random.default_rng(seed).permutation(len(names))[:count]}
    if Path(val).is_file():
        listed = [line for line in read_lines(val) if line]
        known = set(names)
        wanted = [line if line in known else _without_suffix(line) for line in listed]
        strangers = [name for name in wanted if name not in known]
        if strangers:
            raise InputError(f"{val} lists {len(strangers)} images that are not annotated: {shown_some(strangers)}")
        return set(wanted)
    wanted_folders = [part.strip().strip("/") for part in val.split(",") if part.strip()]
    missing = [part for part in wanted_folders if not any(name.startswith(f"{part}/") for name in names)]
    if missing:
        there = f"there are {shown_some(folders, 5)}" if folders else "there are none below --images"
        raise InputError(f"--val {val}: no file, and no folder {missing[0]} of images; {there}")
    return {name for name in names if any(name.startswith(f"{part}/") for part in wanted_folders)}


def _without_suffix(line: str) -> str:
    path = Path(line)
    return path.with_suffix("").as_posix() if path.suffix.lower() in IMAGE_SUFFIXES else line


def trained(
    labelled: Mapping[str, Mapping[int, int]], names: Sequence[str], labels: set[int]
) -> tuple[list[str], list[str]]:
    """Names of images that show a trained class, and of those that show none.

    Args:
        labelled: name -> label -> number of pixels.
        names: of the images for training.
        labels: that are trained.
    """
    use = [name for name in names if labels & {label for label, count in labelled[name].items() if count}]
    return use, [name for name in names if name not in set(use)]
