"""Asking a model about images, one after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import RLock
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hclip_mmseg.apis.images import check_array, list_images, read_image
from hclip_mmseg.apis.launch import choose_device
from hclip_mmseg.models import OpenVocabModel
from hclip_mmseg.vocabularies import Names, Vocabulary, as_vocabulary, read_vocabulary

Image = str | Path | NDArray[np.uint8]
Result = TypeVar("Result")


class Question(NamedTuple):
    """What a model is asked for.

    Attributes:
        vocabulary: the class names that results are given in.
        compared: all names that the model compares: these first, and others that a result leaves out.
        templates: the prompt templates.
    """

    vocabulary: Vocabulary
    compared: Vocabulary
    templates: tuple[str, ...]


class ImageInferencer(ABC, Generic[Result]):
    """What inferencers share: class names, images from files, folders and arrays, errors image by image.

    Several threads may share an inferencer: each call's results are in that call's own names, and the images of all
    calls are worked on one at a time. Threads that ask for different names in turn pay for encoding them at each turn;
    an inferencer for each is faster. Only ``model`` itself must not be changed while another thread asks.

    Args:
        model: an ``OpenVocabModel`` in evaluation mode.
        device: 'cpu', 'cuda', 'cuda:1' ...; 'auto' is a GPU where there is one.

    Raises:
        ValueError: if there is no such device, or the model cannot be asked for names.
    """

    def __init__(self, model: nn.Module, device: str = "auto") -> None:
        if not isinstance(model, OpenVocabModel):
            raise ValueError(f"a {type(model).__name__} has a closed list of classes: it cannot be asked for names")
        self.model: Any = model.to(choose_device(device))
        self._lock = RLock()
        self._question: Question | None = None

    def set_vocabulary(
        self, names: Names, templates: str | Sequence[str] | None = None, stuff: str | Sequence[str] | None = None
    ) -> None:
        """Replace the class names.

        Args:
            names: a text with commas, a file, a benchmark's name, a list or a vocabulary; see `read_vocabulary`.
            templates: prompt templates; None keeps the present ones.
            stuff: those of the names that are not counted one by one, in the same form; of several synonyms the first
                will do. None: those that the vocabulary itself calls so, else none. Only for models that give panoptic
                results.

        Raises:
            FileNotFoundError, ValueError: if the names are no vocabulary, stuff is none of them, or the model counts
                nothing; nothing changes then.
        """
        vocabulary = read_vocabulary(names, repeats=True)
        if stuff is not None:
            if not self.model.gives_panoptic:
                raise ValueError(f"{type(self.model).__name__} counts nothing one by one: leave stuff out")
            vocabulary = vocabulary.with_stuff(read_vocabulary(stuff).titles if stuff else ())
        with self._lock:
            compared = self.compared(vocabulary)
            self.model.set_vocabulary(compared, templates)
            self._question = Question(vocabulary, compared, self.model.templates)

    def set_templates(self, templates: str | Sequence[str]) -> None:
        """Ask for the same class names in other prompts."""
        with self._lock:
            question = self.question
            self.model.set_templates(templates)
            self._question = question._replace(templates=self.model.templates)

    def compared(self, vocabulary: Vocabulary) -> Vocabulary:
        """All names that the model compares for a vocabulary's sake; the vocabulary's own come first."""
        return vocabulary

    def __call__(
        self,
        images: Image | Sequence[Image],
        vocabulary: Names | None = None,
        templates: str | Sequence[str] | None = None,
        *,
        on_error: Callable[[str, Exception], None] | None = None,
        **options: Any,
    ) -> Iterator[Result]:
        """Ask for class names in images, one image after another.

        Args:
            images: paths of images or folders, or arrays as `mmcv.imread` gives them (BGR uint8 [H, W, 3]).
            vocabulary: the class names; None keeps those set before. See `set_vocabulary`.
            templates: prompt templates; None keeps the present ones.
            on_error: called with an image's source and its error, and the rest is done; None: the error is
                raised.
            options: of :meth:`answer`.

        Yields:
            One result for each image that could be read, in the names of this call, whatever is asked meanwhile.

        Raises:
            ValueError, FileNotFoundError: for the vocabulary at once; for an image when it is its turn.
        """
        with self._lock:
            if vocabulary is not None:
                self.set_vocabulary(vocabulary, templates)
            elif templates is not None:
                self.set_templates(templates)
            question = self.question
        if not question.vocabulary.titles:
            raise ValueError("no class names to look for: give a vocabulary, such as 'cat, grass, traffic light'")
        return self._answers(_sources(images), question, on_error, options)

    @property
    def question(self) -> Question:
        """What the model is asked for now, by this inferencer or by whoever set it."""
        question, names, templates = self._question, self.model.vocabulary, self.model.templates
        if question is None or question.compared.titles != names or question.templates != templates:
            vocabulary = as_vocabulary(names, repeats=True) if names else Vocabulary(())
            self._question = question = Question(vocabulary, vocabulary, templates)
        return question

    def _answers(
        self,
        images: list[tuple[str, Image]],
        question: Question,
        on_error: Callable[[str, Exception], None] | None,
        options: dict[str, Any],
    ) -> Iterator[Result]:
        for source, image in images:
            try:
                result = self._answer(source, image, question, options)
            except (ValueError, FileNotFoundError) as error:
                if on_error is None:
                    raise
                on_error(source, error)
            else:
                yield result

    def _answer(self, source: str, image: Image, question: Question, options: dict[str, Any]) -> Result:
        pixels = None
        try:
            pixels = self.read(source, image)
            with self._lock:
                if self.question != question:
                    self.model.set_vocabulary(question.compared, question.templates)
                    self._question = question
                return self.answer(source, pixels, **options)
        except (RuntimeError, MemoryError) as error:
            if not _is_lack_of_memory(error):
                raise
            size = "" if pixels is None else f" of {pixels.shape[0]} x {pixels.shape[1]} pixels"
            raise ValueError(
                f"{source}{size} and {len(question.vocabulary)} class names take more memory than there is; make it "
                "smaller, or ask for fewer names"
            ) from error

    def read(self, source: str, image: Image) -> NDArray[np.uint8]:
        """An image as RGB uint8 [H, W, 3]; ValueError for one that the model does not take."""
        pixels = check_array(image, source) if isinstance(image, np.ndarray) else read_image(image)
        height, width = pixels.shape[:2]
        patch = self.model.smallest_side
        if min(height, width) < patch:
            raise ValueError(f"{source} is {height} x {width} pixels, smaller than one patch of {patch} x {patch}")
        return pixels

    @abstractmethod
    def answer(self, source: str, image: NDArray[np.uint8]) -> Result:
        """The model's result for one image, RGB uint8 [H, W, 3]; ``source`` is what errors call it.

        Called with the lock held and the model asked for the names that the result is to be in.
        """


def _is_lack_of_memory(error: Exception) -> bool:
    lacks = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
    return lacks or "can't allocate memory" in str(error) or "not enough memory" in str(error)


def _sources(images: Image | Sequence[Image]) -> list[tuple[str, Image]]:
    if isinstance(images, (str, Path, np.ndarray)):
        images = [images]
    found: list[tuple[str, Image]] = []
    for position, image in enumerate(images):
        if isinstance(image, np.ndarray):
            found.append((f"image {position}", image))
        else:
            found += [(str(path), path) for path in list_images([image])]
    return found
