"""Asking a model about pictures, one after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hclip_mmseg.apis.images import check_array, list_images, read_image
from hclip_mmseg.apis.launch import choose_device
from hclip_mmseg.vocabularies import read_names

Picture = str | Path | NDArray[np.uint8]
Result = TypeVar("Result")


class PictureInferencer(ABC, Generic[Result]):
    """What inferencers share: words, pictures from files, folders and arrays, errors picture by picture.

    Args:
        model: has ``vocabulary``, ``set_vocabulary`` and ``backbone.image_tower``; in evaluation mode.
        device: 'cpu', 'cuda', 'cuda:1' ...; 'auto' is a GPU where there is one.

    Raises:
        ValueError: if there is no such device.
    """

    def __init__(self, model: nn.Module, device: str = "auto") -> None:
        self.model = model.to(choose_device(device))

    def set_vocabulary(self, names: str | Sequence[str], templates: str | Sequence[str] | None = None) -> None:
        """Replace the words; a string is a list with commas, a file, or a benchmark's (see `read_names`)."""
        self.model.set_vocabulary(read_names(names) if isinstance(names, str) else names, templates)

    def set_templates(self, templates: str | Sequence[str]) -> None:
        """Ask for the same words in other prompts."""
        self.model.set_vocabulary(self.model.vocabulary, templates)

    def __call__(
        self,
        images: Picture | Sequence[Picture],
        vocabulary: str | Sequence[str] | None = None,
        templates: str | Sequence[str] | None = None,
        *,
        on_error: Callable[[str, Exception], None] | None = None,
        **options: Any,
    ) -> Iterator[Result]:
        """Ask for words in pictures, one picture after another.

        Args:
            images: paths of pictures or folders, or arrays as `mmcv.imread` gives them (BGR uint8 [H, W, 3]).
            vocabulary: the words; None keeps those set before. See `set_vocabulary`.
            templates: prompt templates; None keeps the present ones.
            on_error: called with a picture's source and its error, and the rest is done; None: the error is
                raised.
            options: of :meth:`answer`.

        Yields:
            One result for each picture that could be read.

        Raises:
            ValueError, FileNotFoundError: for the vocabulary at once; for a picture when it is its turn.
            RuntimeError: if the words are changed before all results are read.
        """
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, templates)
        elif templates is not None:
            self.set_templates(templates)
        if not self.model.vocabulary:
            raise ValueError("no words to look for: give a vocabulary, such as 'cat, grass, traffic light'")
        return self._answers(_sources(images), self.model.vocabulary, on_error, options)

    def _answers(
        self,
        pictures: list[tuple[str, Picture]],
        words: tuple[str, ...],
        on_error: Callable[[str, Exception], None] | None,
        options: dict[str, Any],
    ) -> Iterator[Result]:
        for source, picture in pictures:
            if self.model.vocabulary != words:
                raise RuntimeError(
                    f"the words were changed while results for {', '.join(words[:3])} ... were still to be made: they "
                    "are made one by one as they are read, so read those of one call, with list(...), before the next"
                )
            try:
                result = self._answer(source, picture, options)
            except (ValueError, FileNotFoundError) as error:
                if on_error is None:
                    raise
                on_error(source, error)
            else:
                yield result

    def _answer(self, source: str, picture: Picture, options: dict[str, Any]) -> Result:
        image = self.read(source, picture)
        try:
            return self.answer(source, image, **options)
        except (RuntimeError, MemoryError) as error:
            if not _is_lack_of_memory(error):
                raise
            height, width = image.shape[:2]
            raise ValueError(
                f"{source} of {height} x {width} pixels and {len(self.model.vocabulary)} words take more memory than "
                "there is; make it smaller, or ask for fewer words"
            ) from error

    def read(self, source: str, picture: Picture) -> NDArray[np.uint8]:
        """A picture as RGB uint8 [H, W, 3]; ValueError for one that the model does not take."""
        image = check_array(picture, source) if isinstance(picture, np.ndarray) else read_image(picture)
        height, width = image.shape[:2]
        patch = self.smallest_side
        if min(height, width) < patch:
            raise ValueError(f"{source} is {height} x {width} pixels, smaller than one patch of {patch} x {patch}")
        return image

    @property
    def smallest_side(self) -> int:
        """Of pictures that the model takes, in pixels."""
        return self.model.backbone.image_tower.patch_size

    @abstractmethod
    def answer(self, source: str, image: NDArray[np.uint8]) -> Result:
        """The model's result for one picture, RGB uint8 [H, W, 3]; ``source`` is what errors call it."""


def _is_lack_of_memory(error: Exception) -> bool:
    lacks = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
    return lacks or "can't allocate memory" in str(error) or "not enough memory" in str(error)


def _sources(images: Picture | Sequence[Picture]) -> list[tuple[str, Picture]]:
    if isinstance(images, (str, Path, np.ndarray)):
        images = [images]
    pictures: list[tuple[str, Picture]] = []
    for position, image in enumerate(images):
        if isinstance(image, np.ndarray):
            pictures.append((f"picture {position}", image))
        else:
            pictures += [(str(path), path) for path in list_images([image])]
    return pictures
