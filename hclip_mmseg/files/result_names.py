"""What the results of images are called, so that none overwrites another's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def name_results(paths: Sequence[Path]) -> dict[str, str]:
    """Image -> the name of its results: its stem, or, where others have that, as much of its path as it takes."""
    paths = list(dict.fromkeys(paths))
    names = {path: path.stem for path in paths}
    counts = Counter(names.values())
    for depth in range(2, max((len(path.parts) for path in paths), default=0) + 2):
        if len(counts) == len(paths):
            break
        names |= {path: "_".join(parts_of(path)[-depth:]) for path in paths if counts[names[path]] > 1}
        counts = Counter(names.values())
    return {
        str(path): name if counts[name] == 1 else f"{name}_{number}"
        for number, (path, name) in enumerate(names.items())
    }


def parts_of(path: Path) -> tuple[str, ...]:
    """The folders of a path and its name, without the root."""
    return path.relative_to(path.anchor).parts


class ResultNames:
    """The names of results for a data set's images, by `name_results` over all of them."""

    def __init__(self) -> None:
        self._dataset: Any = None
        self._names: dict[str, str] = {}

    def name(self, path: str, dataset: Any) -> str:
        """The name of the results of an image.

        Args:
            path: of the image, as the data set has it.
            dataset: in MMEngine's form; one that does not list its images' paths gives stems.
        """
        if dataset is not self._dataset:
            self._dataset, self._names = dataset, name_results(_paths_of(dataset))
        return self._names.get(str(Path(path)), Path(path).stem)


def _paths_of(dataset: Any) -> list[Path]:
    if not hasattr(dataset, "get_data_info"):
        return []
    entries = (dataset.get_data_info(index) for index in range(len(dataset)))
    return [Path(entry["img_path"]) for entry in entries if "img_path" in entry]
