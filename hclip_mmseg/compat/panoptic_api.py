"""The one place that knows that panopticapi may be absent.

MMDetection reads panoptic PNGs and sums up panoptic quality with panopticapi, which is not on the package index.
`ensure_panopticapi` puts what MMDetection uses of it, written from its definitions, in the place of the absent package.
"""

from __future__ import annotations

import importlib.util
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKAGE = "panopticapi"
OFFSET = 256**3
"""More than any segment's id."""
VOID = 0
"""The id of pixels that belong to no segment."""


def ensure_panopticapi() -> bool:
    """Make `panopticapi` importable; do nothing where the package is installed.

    Safe to call more than once. It has to be called before `mmdet.evaluation` is imported.

    Returns:
        True if a stand-in is in use, False if the package is there.
    """
    loaded = sys.modules.get(PACKAGE)
    if loaded is not None:
        return isinstance(loaded, StandIn)
    if importlib.util.find_spec(PACKAGE) is not None:
        return False
    evaluation = StandIn(f"{PACKAGE}.evaluation", OFFSET=OFFSET, VOID=VOID, PQStat=PQStat)
    utils = StandIn(f"{PACKAGE}.utils", rgb2id=rgb2id, id2rgb=id2rgb)
    for module in (StandIn(PACKAGE, evaluation=evaluation, utils=utils), evaluation, utils):
        sys.modules[module.__name__] = module
    return True


class StandIn(ModuleType):
    """A module with the given contents."""

    def __init__(self, name: str, **contents: Any) -> None:
        super().__init__(name, "Stand-in for the package panopticapi.")
        self.__spec__ = ModuleSpec(name, loader=None)
        self.__path__: list[str] = []
        self.__dict__.update(contents)


def rgb2id(colours: NDArray[np.integer]) -> NDArray[np.int32]:
    """Segments' ids from colours [..., 3]: R + 256 G + 256^2 B, [...]."""
    return np.asarray(colours, np.int32) @ np.array([1, 256, 256**2], np.int32)


def id2rgb(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Colours [..., 3] of segments' ids [...]; see `rgb2id`."""
    return np.stack([(ids >> shift) & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)


@dataclass
class CategoryStat:
    """Of one category: matched segments, what was predicted or labelled in vain, and the sum of the matches' IoU."""

    iou: float = 0.0
    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __iadd__(self, other: CategoryStat) -> CategoryStat:
        self.iou += other.iou
        self.tp += other.tp
        self.fp += other.fp
        self.fn += other.fn
        return self

    def quality(self) -> dict[str, float]:
        """pq = sum of IoU / (tp + fp / 2 + fn / 2) = sq x rq, each 0 where there was nothing."""
        counted = self.tp + self.fp / 2 + self.fn / 2
        if not counted:
            return dict(pq=0.0, sq=0.0, rq=0.0)
        return dict(pq=self.iou / counted, sq=self.iou / self.tp if self.tp else 0.0, rq=self.tp / counted)


class PQStat:
    """Panoptic quality (Kirillov et al., Panoptic Segmentation, CVPR 2019, Eqs. 1 and 2), category by category."""

    def __init__(self) -> None:
        self.categories: dict[int, CategoryStat] = defaultdict(CategoryStat)

    def __getitem__(self, category: int) -> CategoryStat:
        return self.categories[category]

    def __iter__(self) -> Iterator[int]:
        return iter(self.categories)

    def __iadd__(self, other: PQStat) -> PQStat:
        for category in other:
            self[category].__iadd__(other[category])
        return self

    def pq_average(
        self, categories: Mapping[int, Mapping[str, Any]], isthing: bool | None
    ) -> tuple[dict[str, float], dict[int, dict[str, float]]]:
        """Means over the categories that were labelled or predicted at all.

        Args:
            categories: id -> a category with ``isthing``.
            isthing: True for things alone, False for stuff alone, None for both.

        Returns:
            ``pq``, ``sq``, ``rq`` and ``n``, how many categories; and of every category ``pq``, ``sq``, ``rq``.
        """
        wanted = [c for c, about in categories.items() if isthing is None or bool(about["isthing"]) == isthing]
        by_category = {category: self[category].quality() for category in wanted}
        there = [category for category in wanted if self[category].tp + self[category].fp + self[category].fn]
        means = {key: sum(by_category[c][key] for c in there) / max(len(there), 1) for key in ("pq", "sq", "rq")}
        return {**means, "n": len(there)}, by_category
