"""Segmenting images with an exported model, from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from hclip_mmseg.apis.images import list_images, pixels_of
from hclip_mmseg.apis.options import check_options, options_of
from hclip_mmseg.export.onnx_model import OnnxModel
from hclip_mmseg.results import Result

Image = str | Path | NDArray[np.uint8]


class OnnxInferencer:
    """Finds the class names that a file was exported for in images; onnxruntime and numpy do the work.

        inferencer = OnnxInferencer("park.onnx")
        for result in inferencer(["park.jpg"]):
            print(result.source, result.shares())

    Args:
        file: as hclip-export writes it, in ONNX.
        threads, providers: see :class:`~hclip_mmseg.export.OnnxModel`.

    Raises:
        FileNotFoundError, ValueError: if onnxruntime is not installed, there is no such file, or it is not of this
            project.
    """

    def __new__(cls, *_: Any, **options: Any) -> Self:
        """Checks the names of options before the file is read."""
        check_options(options, options_of(cls.__init__), cls.__name__)
        return super().__new__(cls)

    def __init__(self, file: str | Path, threads: int | None = None, providers: Sequence[str] | None = None) -> None:
        self.onnx = OnnxModel(file, threads, providers)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The class names, in label order."""
        return self.onnx.description.vocabulary

    def __call__(
        self,
        images: Image | Sequence[Image],
        *,
        scores: bool = False,
        batch_size: int = 1,
        on_error: Callable[[str, Exception], None] | None = None,
        **unknown: Any,
    ) -> Iterator[Result]:
        """Segment images, or find boxes in them, one after another.

        Args:
            images: paths of images or folders, or arrays as `mmcv.imread` gives them (BGR uint8 [H, W, 3]).
            scores: whether to give the scores of all class names too; of segmentors.
            batch_size: has no effect: images are run one after another.
            on_error: called with an image's source and its error, and the rest is done; None: the error is raised.
            unknown: no option is called otherwise.

        Yields:
            One result for each image that could be read.

        Raises:
            ValueError, FileNotFoundError: for an unknown option at once; for an image when it is its turn.
        """
        check_options(unknown, options_of(self.__call__, keyword_only=True), type(self).__name__)
        return self._results(images, scores, on_error)

    def _results(
        self, images: Image | Sequence[Image], scores: bool, on_error: Callable[[str, Exception], None] | None
    ) -> Iterator[Result]:
        alone = isinstance(images, (str, bytes, Path, np.ndarray)) or not isinstance(images, Iterable)
        given: Any = [images] if alone else images
        for position, image in enumerate(given):
            sources = [image] if isinstance(image, np.ndarray) else list_images([image])
            for source in sources:
                name = f"image {position}" if isinstance(source, np.ndarray) else str(source)
                try:
                    result = self._segment(name, source, scores)
                except (ValueError, FileNotFoundError) as error:
                    if on_error is None:
                        raise
                    on_error(name, error)
                else:
                    yield result

    def _segment(self, name: str, image: Image, scores: bool) -> Result:
        pixels = pixels_of(image, name)
        size, patch = (pixels.shape[0], pixels.shape[1]), self.onnx.description.patch
        if min(size) < patch:
            raise ValueError(f"{name} is {size[0]} x {size[1]} pixels, smaller than one patch of {patch} x {patch}")
        if self.onnx.description.kind == "boxes":
            boxes = self.onnx.detect(pixels)
            highest = np.zeros(len(self.vocabulary), np.float32)
            np.maximum.at(highest, boxes.labels, boxes.scores)
            presence = dict(zip(self.vocabulary, highest.tolist(), strict=True))
            things = (True,) * len(self.vocabulary)
            return Result(name, pixels, self.vocabulary, boxes=boxes, things=things, presence=presence)
        found = self.onnx.score(pixels)
        labels, certainty = self.onnx.labels(found, size)
        maps = self.onnx.maps(found, size) if scores else None
        presence = self.onnx.presence(found)
        return Result(name, pixels, self.vocabulary, labels, maps, certainty, presence=presence)
