"""Asking a model about images, one after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import PIL.Image
import torch
from mmengine.config import Config
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import Self

from hclip_mmseg.apis.images import list_images, pixels_of
from hclip_mmseg.apis.launch import choose_device
from hclip_mmseg.apis.model_folder import ModelFolder, fetch_folder, folder_of
from hclip_mmseg.apis.options import check_options, options_of
from hclip_mmseg.apis.question import RULES, Question, Rules, ask
from hclip_mmseg.apis.saved_vocabulary import SavedVocabulary, is_saved, read_saved_vocabulary
from hclip_mmseg.clip.templates import read_templates
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.showing import with_article
from hclip_mmseg.models import OpenVocabModel
from hclip_mmseg.results import Result
from hclip_mmseg.vocabularies import Names, Vocabulary, as_vocabulary, read_vocabulary

Image = str | Path | NDArray[np.uint8] | PIL.Image.Image | Tensor
IN_MEMORY = (np.ndarray, PIL.Image.Image, Tensor)
"""Forms of an image that have no path."""


class ImageInferencer(ABC):
    """What inferencers share: class names, images from files, folders and arrays, errors image by image.

    Several threads may share an inferencer: each call's results are in that call's own names, and the images of all
    calls are worked on one at a time. Threads that ask for different names in turn pay for encoding them at each turn;
    an inferencer for each is faster. Only ``model`` itself must not be changed while another thread asks.

    Args:
        model: an ``OpenVocabModel`` in evaluation mode.
        device: 'cpu', 'cuda', 'cuda:1' ...; 'auto' is a GPU where there is one.
        config: that the model was built from; None: it cannot be written by `save_pretrained`.

    Raises:
        ValueError: if there is no such device, or the model cannot be asked for names.
    """

    without: Mapping[str, str] = {}
    """Rules that have no meaning for the results -> why."""

    def __new__(cls, *_: Any, **options: Any) -> Self:
        """Checks the names of options before the model is built."""
        check_options(options, options_of(cls.__init__), cls.__name__)
        return super().__new__(cls)

    def __init__(self, model: nn.Module, device: str = "auto", config: Config | None = None) -> None:
        if not isinstance(model, OpenVocabModel):
            kind = with_article(type(model).__name__)
            raise ValueError(f"{kind} has a closed list of classes: it cannot be asked for names")
        self.model: Any = model.to(choose_device(device))
        self.config = config
        self._lock = RLock()
        self._question: Question | None = None

    @classmethod
    def from_pretrained(cls, place: str | Path, revision: str | None = None, **options: Any) -> Self:
        """The inferencer of a model in a folder, or on the Hugging Face Hub, as :meth:`save_pretrained` wrote it.

        Args:
            place: the folder, or 'owner/name' on the Hub.
            revision: branch, tag or commit on the Hub.
            options: of the class, such as ``device``.

        Raises:
            ValueError: if there is no such model, or a newer version wrote it.
        """
        opened: Any = cls  # whose first argument is a config, in every class that is used
        return opened(fetch_folder(place, revision), **options)

    def save_pretrained(self, folder: str | Path, *, folded: bool = False, results: str | Path | None = None) -> None:
        """Write the model into a folder that :meth:`from_pretrained` opens, with its class names and templates.

        Args:
            folder: to write into.
            folded: whether adapters are to be multiplied into CLIP's weights: the same results at plain CLIP's cost.
            results: file that ``hclip-test --benchmarks`` wrote, whose figures go into the model card.

        Raises:
            ValueError: if the adapters cannot be folded, or ``results`` holds none.
        """
        self._folder(folded, results).save_pretrained(folder)

    def push_to_hub(
        self, repo_id: str, *, folded: bool = False, results: str | Path | None = None, **options: Any
    ) -> str:
        """Write the model to the Hugging Face Hub; its address there.

        Args:
            repo_id: 'owner/name'.
            folded: see :meth:`save_pretrained`.
            results: see :meth:`save_pretrained`.
            options: of huggingface_hub's ``push_to_hub``, such as ``private``.
        """
        return self._folder(folded, results).push_to_hub(repo_id, **options)

    def _folder(self, folded: bool, results: str | Path | None) -> ModelFolder:
        if self.config is None:
            kind = with_article(type(self).__name__)
            raise InputError(f"{kind} without a config cannot be written as a model's folder")
        with self._lock:
            asked, kind = self.question.asked, type(self).__name__
            return folder_of(self.model, self.config, asked, folded=folded, results=results, inferencer=kind)

    def set_vocabulary(
        self,
        names: Names,
        templates: str | Path | Sequence[str] | None = None,
        stuff: str | Sequence[str] | None = None,
        **rules: Any,
    ) -> None:
        """Replace the class names.

        Args:
            names: a text with commas, a file, a benchmark's name, a list or a vocabulary; see `read_vocabulary`. Or a
                file of `save_vocabulary`, which brings its templates too.
            templates: prompt templates, or a file with one a line; None keeps the present ones.
            stuff: those of the names that are not counted one by one, in the same form; of several synonyms the first
                will do. None: those that the vocabulary itself calls so, else none. Only for models that give panoptic
                results.
            rules: what competes with the names, and when a pixel has none of them; see :class:`~.question.Rules`.

        Raises:
            FileNotFoundError, ValueError: if the names are no vocabulary, stuff is none of them, the model counts
                nothing, or a rule is wrong or has no meaning for the model's results; nothing changes then.
        """
        check_options(rules, RULES, "a vocabulary")
        saved = read_saved_vocabulary(str(names)) if is_saved(names) else None
        if saved is not None:
            vocabulary, templates = saved.vocabulary, saved.templates if templates is None else templates
        else:
            vocabulary = read_vocabulary(names, repeats=True)
        if stuff is not None:
            if not self.model.gives_panoptic:
                raise ValueError(f"{type(self.model).__name__} counts nothing one by one: leave stuff out")
            vocabulary = vocabulary.with_stuff(read_vocabulary(stuff).titles if stuff else ())
        with self._lock:
            if saved is not None:
                saved.give_to(self.model)
            self._ask(vocabulary, None if templates is None else read_templates(templates), Rules(**rules))

    def save_vocabulary(self, path: str | Path) -> None:
        """Write the class names and their embeddings, which `set_vocabulary` then takes from the file.

        Args:
            path: ends in .safetensors.

        Raises:
            ValueError: if there are no class names yet, or the path ends otherwise.
        """
        if not is_saved(path):
            raise InputError(f"a saved vocabulary ends in .safetensors, not as {path}")
        with self._lock:
            if not self.question.names:
                raise InputError("there are no class names to be saved: set some before")
            SavedVocabulary.of(self.model, self.question.asked).write(path)

    def set_templates(self, templates: str | Path | Sequence[str]) -> None:
        """Ask for the same class names in other prompts."""
        with self._lock:
            question = self.question
            self.model.set_templates(read_templates(templates))
            self._question = replace(question, templates=self.model.templates)

    def _ask(self, vocabulary: Vocabulary, templates: str | Sequence[str] | None, rules: Rules) -> None:
        for name, reason in self.without.items():
            if getattr(rules, name) != getattr(Rules(), name):
                raise InputError(f"{name} has no meaning here: {reason}")
        question = ask(vocabulary, rules, self.competitors(vocabulary))
        self.model.set_vocabulary(question.compared, templates)
        self._question = replace(question, templates=self.model.templates)

    def competitors(self, vocabulary: Vocabulary) -> Sequence[str]:
        """Names that the model compares beside a vocabulary's, and that results leave out."""
        return ()

    def __call__(
        self,
        images: Image | Sequence[Image],
        vocabulary: Names | None = None,
        templates: str | Path | Sequence[str] | None = None,
        *,
        batch_size: int = 1,
        on_error: Callable[[str, Exception], None] | None = None,
        **options: Any,
    ) -> Iterator[Result]:
        """Ask for class names in images, one image after another.

        Args:
            images: one or several: paths of images or folders, patterns, addresses (http, file), arrays as
                `mmcv.imread` gives them (BGR uint8 [H, W, 3]), images of Pillow's, tensors (RGB [3, H, W], uint8 or
                0..1); a tensor [B, 3, H, W] is several.
            vocabulary: the class names; None keeps those set before. See `set_vocabulary`.
            templates: prompt templates, or a file with one a line; None keeps the present ones.
            batch_size: images that the model is given at once, if they follow each other and have one size.
            on_error: called with an image's source and its error, and the rest is done; None: the error is
                raised.
            options: of :meth:`answers`, and rules as of `set_vocabulary`; without any those set before stay.

        Yields:
            One result for each image that could be read, in the names of this call, whatever is asked meanwhile.

        Raises:
            ValueError, FileNotFoundError: for the vocabulary and the batch size at once; for an image when it is its
                turn.
        """
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size is a number of images, at least 1, not {batch_size!r}")
        own = (options_of(form, keyword_only=True) for form in (self.__call__, self.answers))
        check_options(options, (*chain(*own), *RULES), type(self).__name__)
        rules = {name: options.pop(name) for name in RULES if name in options}
        with self._lock:
            if vocabulary is not None:
                self.set_vocabulary(vocabulary, templates, **rules)
            elif rules:
                self._ask(self.question.asked, None if templates is None else read_templates(templates), Rules(**rules))
            elif templates is not None:
                self.set_templates(templates)
            question = self.question
        if not question.names:
            raise ValueError("no class names to look for: give a vocabulary, such as 'cat, grass, traffic light'")
        return self._answers(_sources(images), question, batch_size, on_error, options)

    @property
    def question(self) -> Question:
        """What the model is asked for now, by this inferencer or by whoever set it."""
        question, names, templates = self._question, self.model.vocabulary, self.model.templates
        if question is None or question.compared.titles != names or question.templates != templates:
            asked = as_vocabulary(names, repeats=True) if names else Vocabulary(())
            if self.model.gives_panoptic and not bool(self.model.things.all()):
                things = self.model.things.tolist()
                asked = asked.with_stuff([name for name, thing in zip(names, things, strict=True) if not thing])
            question = ask(asked, Rules())
            self._question = question = replace(question, templates=templates)
        return question

    def _answers(
        self,
        images: list[tuple[str, Image]],
        question: Question,
        batch_size: int,
        on_error: Callable[[str, Exception], None] | None,
        options: dict[str, Any],
    ) -> Iterator[Result]:
        for batch in self._batches(images, batch_size, on_error):
            try:
                yield from self._answer(batch, question, options)
            except (ValueError, FileNotFoundError) as error:
                if len(batch) > 1:  # which of them it was is found one by one
                    yield from self._answers([(source, pixels[..., ::-1]) for source, pixels in batch],
                                             question, 1, on_error, options)  # fmt: skip
                elif on_error is None:
                    raise
                else:
                    on_error(batch[0][0], error)

    def _batches(
        self, images: list[tuple[str, Image]], batch_size: int, on_error: Callable[[str, Exception], None] | None
    ) -> Iterator[list[tuple[str, NDArray[np.uint8]]]]:
        """Images that follow each other and have one size, read while the model works on those before them."""
        batch: list[tuple[str, NDArray[np.uint8]]] = []
        for source, reading in _ahead(images, self.read, batch_size):
            try:
                pixels = reading.result()
            except (ValueError, FileNotFoundError) as error:
                if on_error is None:
                    if batch:  # what was read before it comes first
                        yield batch
                    raise
                on_error(source, error)
                continue
            if batch and (len(batch) == batch_size or batch[0][1].shape != pixels.shape):
                yield batch
                batch = []
            batch.append((source, pixels))
            if len(batch) == batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _answer(
        self, batch: Sequence[tuple[str, NDArray[np.uint8]]], question: Question, options: dict[str, Any]
    ) -> Sequence[Result]:
        try:
            with self._lock:
                if self.question != question:
                    self.model.set_vocabulary(question.compared, question.templates)
                    self._question = question
                return self.answers(*zip(*batch, strict=True), **options)
        except (RuntimeError, MemoryError) as error:
            if not _is_lack_of_memory(error):
                raise
            source, pixels = batch[0]
            raise ValueError(
                f"{source} of {pixels.shape[0]} x {pixels.shape[1]} pixels and {len(question.names)} class names take "
                "more memory than there is; make it smaller, or ask for fewer names"
            ) from error

    def read(self, source: str, image: Image) -> NDArray[np.uint8]:
        """An image as RGB uint8 [H, W, 3]; ValueError for one that the model does not take."""
        pixels = pixels_of(image, source)
        height, width = pixels.shape[:2]
        patch = self.model.smallest_side
        if min(height, width) < patch:
            raise ValueError(f"{source} is {height} x {width} pixels, smaller than one patch of {patch} x {patch}")
        return pixels

    @abstractmethod
    def answers(self, sources: Sequence[str], images: Sequence[NDArray[np.uint8]]) -> Sequence[Result]:
        """The model's results for images of one size.

        Called with the lock held and the model asked for the names that the results are to be in.

        Args:
            sources: what errors call the images.
            images: RGB uint8 [H, W, 3] each.
        """


def _ahead(
    images: Sequence[tuple[str, Image]], read: Callable[[str, Image], NDArray[np.uint8]], ahead: int
) -> Iterator[tuple[str, Future[NDArray[np.uint8]]]]:
    """Images in their order, of which up to ``ahead`` more are read in a thread of their own meanwhile."""
    waiting: deque[tuple[str, Future[NDArray[np.uint8]]]] = deque()
    with ThreadPoolExecutor(1, "images") as reader:
        try:
            for source, image in images:
                waiting.append((source, reader.submit(read, source, image)))
                if len(waiting) > ahead:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for _, reading in waiting:
                reading.cancel()


def _is_lack_of_memory(error: Exception) -> bool:
    lacks = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
    return lacks or "can't allocate memory" in str(error) or "not enough memory" in str(error)


def _sources(images: Image | Sequence[Image]) -> list[tuple[str, Image]]:
    if isinstance(images, (str, bytes, Path, *IN_MEMORY)) or not isinstance(images, Iterable):
        images = list(images) if isinstance(images, Tensor) and images.ndim == 4 else [images]
    found: list[tuple[str, Image]] = []
    for position, image in enumerate(images):
        if isinstance(image, IN_MEMORY):
            found.append((f"image {position}", image))
        else:
            found += [(str(path), path) for path in list_images([image])]
    return found
