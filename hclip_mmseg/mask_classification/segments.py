"""Panoptic results: the segments of an image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hclip_mmseg.compat.panoptic_api import id2rgb
from hclip_mmseg.files.writing import write_image, write_whole
from hclip_mmseg.mask_classification.inference import PANOPTIC_OFFSET
from hclip_mmseg.visualization import class_shares, draw_overlay


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic result: all of a stuff, or one instance of a thing.

    Attributes:
        id: its value in :attr:`PanopticSegmentation.ids`, above 0.
        word: what it is.
        thing: whether it is counted.
        title: its word, with a number where there are several of it.
        share: of the image, 0..1.
    """

    id: int
    word: str
    thing: bool
    title: str
    share: float


@dataclass(frozen=True, eq=False)
class PanopticSegmentation:
    """An image parted into segments, each with one of the words that it was asked for.

    Attributes:
        source: the image's path, or its place in the list for an array.
        image: RGB uint8, [H, W, 3].
        ids: int32 [H, W], the segments' ids; 0 where there is none.
        segments: the largest first; none where panoptic results were not asked for.
        labels: int64 [H, W], the semantic result: indices of `vocabulary`.
        vocabulary: the words.
    """

    source: str
    image: NDArray[np.uint8]
    ids: NDArray[np.int32]
    segments: tuple[Segment, ...]
    labels: NDArray[np.int64]
    vocabulary: tuple[str, ...]

    def overlay(self, *, alpha: float = 0.55, legend: bool = True) -> NDArray[np.uint8]:
        """The image with each segment coloured and named, and a legend; RGB uint8."""
        places = np.full(self.ids.shape, len(self.segments))
        for place, segment in enumerate(self.segments):
            places[self.ids == segment.id] = place
        titles = [segment.title for segment in self.segments]
        return draw_overlay(self.image, places, titles, alpha=alpha, legend=legend, written=True)

    def semantic_overlay(self, *, alpha: float = 0.55, legend: bool = True) -> NDArray[np.uint8]:
        """The image with the semantic result."""
        return draw_overlay(self.image, self.labels, self.vocabulary, alpha=alpha, legend=legend)

    def shares(self) -> dict[str, float]:
        """The words of the semantic result and the share of the image each takes, 0..1, the largest first."""
        return {self.vocabulary[index]: share for index, share in class_shares(self.labels, self.vocabulary)}

    def write(self, ids: str | Path, listed: str | Path) -> None:
        """Writes COCO's form: ids as colours of a PNG (R + 256 G + 256^2 B), and a JSON list of the segments."""
        write_image(ids, id2rgb(self.ids))
        segments = [
            dict(id=one.id, word=one.word, isthing=int(one.thing), area=round(one.share * self.ids.size))
            for one in self.segments
        ]
        write_whole(listed, json.dumps(segments, indent=1, ensure_ascii=False) + "\n")


def list_segments(
    ids: NDArray[np.int32], vocabulary: Sequence[str], things: Sequence[bool]
) -> tuple[NDArray[np.int32], tuple[Segment, ...]]:
    """Segments of a model's panoptic ids; see :func:`~hclip_mmseg.mask_classification.inference.panoptic_ids`.

    Returns:
        ids with 0 where there is no segment, and the segments, the largest first.
    """
    ids = np.where(ids % PANOPTIC_OFFSET == len(vocabulary), 0, ids).astype(np.int32)
    found, counts = np.unique(ids[ids > 0], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    labels = found % PANOPTIC_OFFSET
    numbers: dict[int, int] = {}
    segments = []
    for place in order.tolist():
        label = int(labels[place])
        title = word = vocabulary[label].split(",")[0]
        if (labels == label).sum() > 1:
            numbers[label] = numbers.get(label, 0) + 1
            title = f"{word} {numbers[label]}"
        share = float(counts[place]) / ids.size
        segments.append(Segment(int(found[place]), word, bool(things[label]), title, share))
    return ids, tuple(segments)
