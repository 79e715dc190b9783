"""What the results of images are called, so that none overwrites another's."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

LONGEST_NAME = 220
"""Bytes of a result's name; file systems allow 255, endings included."""


def readable(path: str) -> str:
    """A path as Unicode, with _ for what is none, as in names that other machines wrote."""
    return os.fsencode(path).decode("utf-8", "replace").replace("\ufffd", "_")


def plain_name(name: str) -> str:
    """A name that a file can have: without what is no Unicode, and not too long for what is added to it."""
    return readable(name).encode()[:LONGEST_NAME].decode(errors="ignore")


def name_results(paths: Sequence[str | Path]) -> dict[str, str]:
    """Image -> the name of its results: its stem, or, where others have that, as much of its path as it takes."""
    distinct = list(dict.fromkeys(map(Path, paths)))
    parts = {path: path.relative_to(path.anchor).parts for path in distinct}
    names = {path: plain_name(path.stem) for path in distinct}
    for depth in range(2, max(map(len, parts.values()), default=0) + 2):
        counts = Counter(names.values())
        if len(counts) == len(names):
            break
        names |= {path: plain_name("_".join(parts[path][-depth:])) for path in distinct if counts[names[path]] > 1}
    counts = Counter(names.values())
    return {
        str(path): name if counts[name] == 1 else f"{name}_{number}"
        for number, (path, name) in enumerate(names.items())
    }


def tell_apart(paths: Sequence[str | Path]) -> dict[str, str]:
    """Image -> its file's name, or, where other files have that, as much of its path as it takes, with "/" between."""
    parts = {str(path): Path(path).parts for path in paths}
    names = {path: readable("/".join(own[-1:])) for path, own in parts.items()}
    for depth in range(2, max(map(len, parts.values()), default=0) + 1):
        counts = Counter(names.values())
        names |= {path: readable("/".join(parts[path][-depth:])) for path in parts if counts[names[path]] > 1}
    return names


class ResultNames:
    """The names of a data set's results, found when the first is asked for."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._dataset: object = None

    def name(self, path: str | Path, dataset: object) -> str:
        """The name of an image's results, the same as of no other image of the data set.

        Args:
            path: of the image, as the data set gives it.
            dataset: MMEngine's, whose entries hold ``img_path``.
        """
        if dataset is not self._dataset:
            self._dataset = dataset
            self._names = name_results(_paths(dataset))
        return self._names.get(str(Path(path)), plain_name(Path(path).stem))


def _paths(dataset: object) -> list[str]:
    """The paths of all images of a data set, if it gives them without loading images."""
    inner = getattr(dataset, "datasets", None)
    if inner is not None:
        return [path for each in inner for path in _paths(each)]
    read, length = getattr(dataset, "get_data_info", None), getattr(dataset, "__len__", None)
    if read is None or length is None:
        return []
    found = (read(index).get("img_path") for index in range(length()))
    return [str(path) for path in found if path]
