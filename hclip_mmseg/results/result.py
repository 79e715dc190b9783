"""What a model found of the class names in an image, the same class for every model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.scores import check_score
from hclip_mmseg.results import coco
from hclip_mmseg.visualization import beside, class_shares, draw_boxes, draw_overlay, label_image

if TYPE_CHECKING:
    from supervision import Detections


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic result: all of a stuff, or one instance of a thing.

    Attributes:
        id: its value in :attr:`Result.ids`, above 0.
        label: index of its class name in :attr:`Result.vocabulary`.
        thing: whether it is counted.
        title: its class name, with a number where there are several of it.
        share: of the image, 0..1.
    """

    id: int
    label: int
    thing: bool
    title: str
    share: float


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes found in an image, the highest scores first.

    Attributes:
        corners: float32 [n, 4], (x1, y1, x2, y2) in pixels of the image.
        scores: float32 [n] in 0..1.
        labels: int64 [n], indices of :attr:`Result.vocabulary`.
    """

    corners: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: NDArray[Any]) -> Boxes:
        return Boxes(self.corners[chosen], self.scores[chosen], self.labels[chosen])


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What a model found of the class names in an image: a label map, and segments or boxes where it gives such.

    Attributes:
        source: the image's path, or its place in the list for an array.
        image: RGB uint8, [H, W, 3].
        vocabulary: the class names that results are given in.
        labels: int64 [H, W], indices of `vocabulary`; 255, or 65535 of more than 255 class names, where a pixel has
            no class. None of a detector.
        scores: float32 [T, H, W] in 0..1 of all class names, if asked for.
        certainty: float32 [H, W] in 0..1, the score of every pixel's label; None where the model does not say.
        ids: int32 [H, W], the segments' ids, 0 where there is none; None without panoptic results.
        segments: those of a panoptic result, the largest first.
        boxes: of a detector.
        things: for every class name whether it is counted one by one; () where nobody says.
        thresholds: least score of every class name, if there are such; else ().
        presence: class name -> its highest score anywhere in the image, 0..1; {} where the model does not say.
    """

    source: str
    image: NDArray[np.uint8]
    vocabulary: tuple[str, ...]
    labels: NDArray[np.int64] | None = None
    scores: NDArray[np.float32] | None = None
    certainty: NDArray[np.float32] | None = None
    ids: NDArray[np.int32] | None = None
    segments: tuple[Segment, ...] = ()
    boxes: Boxes | None = None
    things: tuple[bool, ...] = ()
    thresholds: tuple[float, ...] = ()
    presence: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"Result({self.source!r}, {height} x {width} pixels: {self.summary()})"

    def summary(self, most: int = 5) -> str:
        """What was found, the most of it first, in one line: shares of class names or segments, or scores of boxes.

        Args:
            most: how many class names or segments.
        """
        if self.boxes is not None:
            found = [f"{name} {score:.2f}" for name, score in self.best().items()]
        elif self.ids is not None:
            found = [f"{segment.title} {_percent(segment.share)}" for segment in self.segments]
        else:
            found = [f"{name} {_percent(share)}" for name, share in self.shares().items()]
        return ", ".join(found[:most]) or "nothing"

    def shares(self) -> dict[str, float]:
        """The class names found and the share of the image each takes, 0..1, the largest first; {} of boxes alone."""
        if self.labels is None:
            return {}
        return {self.vocabulary[index]: share for index, share in class_shares(self.labels, self.vocabulary)}

    def best(self) -> dict[str, float]:
        """The class names that boxes were found for, each with its highest score, the highest first."""
        found: dict[str, float] = {}
        if self.boxes is not None:
            for label, score in zip(self.boxes.labels.tolist(), self.boxes.scores.tolist(), strict=True):
                found.setdefault(self.vocabulary[label], score)
        return found

    def above(self, score: float) -> Result:
        """The same result with the boxes of at least that score.

        Raises:
            ValueError: if ``score`` is none.
        """
        score = check_score(score, "score")
        if self.boxes is None:
            return self
        return replace(self, boxes=self.boxes[self.boxes.scores >= score])

    def overlay(
        self,
        *,
        alpha: float = 0.55,
        legend: bool = True,
        names_on_regions: bool | None = None,
        side_by_side: bool = False,
        min_score: float = 0.3,
    ) -> NDArray[np.uint8]:
        """The image with what was found: segments, boxes, or else the label map; RGB uint8.

        Args:
            alpha: weight of the class colours, 0..1; boxes are drawn as lines.
            legend: whether the class names stand beside the image; of boxes they stand at the boxes.
            names_on_regions: whether each class name stands on its region; None: of segments.
            side_by_side: whether the image itself comes first.
            min_score: least score of the boxes that are drawn.

        Raises:
            ValueError: if ``alpha`` is no weight, or ``min_score`` no score.
        """
        alpha, min_score = check_score(alpha, "alpha"), check_score(min_score, "min_score")
        if self.boxes is not None:
            boxes = self.boxes[self.boxes.scores >= min_score]
            drawn = draw_boxes(self.image, boxes.corners, boxes.labels, boxes.scores, self.vocabulary)
        else:
            labels, names = self._drawn()
            written = self.ids is not None if names_on_regions is None else names_on_regions
            drawn = draw_overlay(self.image, labels, names, alpha=alpha, legend=legend, written=written)
        if not side_by_side:
            return drawn
        enlarged = max(drawn.shape[0] // self.image.shape[0], 1) if legend and self.boxes is None else 1
        return beside(self.image.repeat(enlarged, axis=0).repeat(enlarged, axis=1), drawn)

    def _drawn(self) -> tuple[NDArray[np.integer], Sequence[str]]:
        """The label map that is drawn and its names: of segments, or of classes."""
        if self.ids is None:
            assert self.labels is not None
            return self.labels, self.vocabulary
        places = np.full(self.ids.shape, len(self.segments))
        for place, segment in enumerate(self.segments):
            places[self.ids == segment.id] = place
        return places, [segment.title for segment in self.segments]

    def to_pil(self) -> Image.Image:
        """The label map as a palette image in the colours of the class names, whose values are the labels.

        Of more than 255 class names a 16-bit grey image.

        Raises:
            ValueError: if there are boxes alone.
        """
        if self.labels is None:
            raise InputError("boxes have no label map: take overlay() or boxes")
        return label_image(self.labels, self.vocabulary)

    def to_coco(self, image_id: int = 1, *, polygons: bool = False) -> list[dict[str, Any]]:
        """COCO's results: a box, a segment, or all pixels of a class each.

        Category ids count the class names from 1. The score is a box's own, else the mean certainty of the pixels,
        and 1 where the model says none.

        Args:
            image_id: of the image.
            polygons: whether regions are polygons; else run lengths, as pycocotools writes them.

        Returns:
            Dictionaries with ``image_id``, ``category_id``, ``bbox`` (x, y, width, height), ``area``, ``score``,
            ``iscrowd``, and of regions ``segmentation``.
        """
        if self.boxes is not None:
            return coco.box_results(self.boxes.corners, self.boxes.scores, self.boxes.labels, image_id)
        if self.ids is not None:
            parts = [(segment.label, self.ids == segment.id) for segment in self.segments]
        else:
            assert self.labels is not None
            labels = self.labels
            parts = [(index, labels == index) for index, _ in class_shares(labels, self.vocabulary)]
        return coco.region_results(parts, self.certainty, image_id, polygons)

    def to_panoptic(self) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
        """COCO's panoptic form; without panoptic results each class is one segment.

        Returns:
            The colours of the segments' ids (R + 256 G + 256^2 B), uint8 [H, W, 3], black where there is no segment;
            and ``segments_info``: ``id``, ``category_id``, ``area``, ``bbox``, ``iscrowd`` of each segment.

        Raises:
            ValueError: if there are boxes alone.
        """
        if self.ids is not None:
            return coco.panoptic(self.ids, {segment.id: segment.label for segment in self.segments})
        if self.labels is None:
            raise InputError("boxes have no panoptic form")
        known = [index for index, _ in class_shares(self.labels, self.vocabulary)]
        ids = np.where(np.isin(self.labels, known), self.labels + 1, 0)
        return coco.panoptic(ids, {index + 1: index for index in known})

    def to_detections(self) -> Detections:
        """The same as ``supervision.Detections``: boxes, or the masks of segments or classes with theirs.

        Raises:
            ValueError: if supervision is not installed.
        """
        try:
            from supervision import Detections
        except ImportError as error:
            raise InputError("to_detections() needs supervision: pip install supervision") from error
        found = self.to_coco()
        corners = np.array([entry["bbox"] for entry in found], np.float32).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        labels = np.array([entry["category_id"] - 1 for entry in found], np.int64)
        masks = None
        if self.boxes is None:
            height, width = self.image.shape[:2]
            masks = coco.masks_of(found, (height, width))
        return Detections(
            xyxy=corners,
            mask=masks,
            confidence=np.array([entry["score"] for entry in found], np.float32),
            class_id=labels,
            data={"class_name": np.array([self.vocabulary[label] for label in labels])},
        )

    def save(self, folder: str | Path, formats: str | Sequence[str] | None = None, name: str | None = None) -> None:
        """Write the result into a folder.

        Args:
            folder: made if absent.
            formats: of :data:`~hclip_mmseg.results.writer.FORMATS`, a list or a text with commas. None: label map and
                overlay; panoptic files and overlay of segments; overlay and JSON of boxes.
            name: what the files are called; None: as the image.

        Raises:
            ValueError: for an unknown format, or one that such a result does not have.
        """
        from hclip_mmseg.results.writer import ResultWriter, check_formats, usual_formats

        usual = usual_formats(boxes=self.boxes is not None, panoptic=self.ids is not None)
        with ResultWriter(folder, usual if formats is None else check_formats(formats)) as writer:
            writer.add(self, name or Path(self.source).stem)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.005 else "<1%"
