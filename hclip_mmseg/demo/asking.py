"""What a visitor asks, and the answer in the forms that a page shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from hclip_mmseg.apis.image_inferencer import ImageInferencer
from hclip_mmseg.apis.inferencer import OpenVocabInferencer
from hclip_mmseg.demo.models import ModelShelf
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.images import read_pixels
from hclip_mmseg.files.scores import check_score
from hclip_mmseg.files.showing import counted
from hclip_mmseg.results import Result
from hclip_mmseg.visualization import draw_heat_map
from hclip_mmseg.vocabularies.names import names_of_text

LONGEST_TEXT = 50_000
"""Characters of a visitor's class names."""
MOST_NAMES = 1000
MOST_PIXELS = 16_000_000
"""Of a visitor's image."""
SCORE_BYTES = 1 << 29
"""Score maps that take more are not asked for."""
MOST_MAPS = 12
"""Heat maps that are shown, of the names with the highest scores."""


@dataclass(frozen=True)
class Request:
    """What a visitor asks for.

    Attributes:
        model: name of the model.
        names: class names, as a text, or a benchmark's name.
        background: names that compete and are called background together.
        threshold: least score, 0..1; 0: none.
        compare: whether the frozen CLIP is asked too.
        example: name of the example that is asked about, "" of an image of the visitor's own.
    """

    model: str
    names: str
    background: str = ""
    threshold: float = 0.0
    compare: bool = False
    example: str = ""

    def query(self) -> str:
        """The end of an address that brings the request back: "?model=...&names=...", without what is not set."""
        said = {name: "1" if value is True else str(value) for name, value in asdict(self).items() if value}
        return f"?{urlencode(said)}"

    def updated(self, query: Mapping[str, str], models: Sequence[str], examples: Sequence[str]) -> Request:
        """The request with what an address says; what it says of unknown models, examples and scores is left out."""
        names, background = query.get("names", self.names), query.get("background", self.background)
        found = replace(self, names=names[:LONGEST_TEXT], background=background[:LONGEST_TEXT])
        if query.get("model") in models:
            found = replace(found, model=query["model"])
        if query.get("example") in examples:
            found = replace(found, example=query["example"])
        try:
            found = replace(found, threshold=check_score(query.get("threshold", found.threshold), "threshold"))
        except ValueError:
            pass
        return replace(found, compare=query["compare"] == "1") if "compare" in query else found


@dataclass(frozen=True)
class Answer:
    """What the page shows.

    Attributes:
        result: of the model.
        frozen: of the frozen CLIP, if it was asked.
        heat_maps: (RGB uint8 [H, W, 3], title) of the names with the highest scores; () where a model has no scores.
        notes: what a visitor should know.
    """

    result: Result
    frozen: Result | None = None
    heat_maps: tuple[tuple[NDArray[np.uint8], str], ...] = ()
    notes: tuple[str, ...] = ()


def read_upload(path: str | Path) -> NDArray[np.uint8]:
    """A visitor's image, RGB uint8 [H, W, 3]; errors call it by its file's name, and not by its place here.

    Raises:
        ValueError: if it is broken, no image, or too large.
    """
    name = Path(path).name
    image = read_pixels(path, name)
    if image.shape[0] * image.shape[1] > MOST_PIXELS:
        raise InputError(
            f"{name} has {image.shape[0]} x {image.shape[1]} pixels; at most {MOST_PIXELS // 10**6} million are taken "
            "here: make it smaller"
        )
    return image


def answer(
    request: Request,
    image: NDArray[np.uint8],
    shelf: ModelShelf,
    progress: Callable[[float, str], object] = lambda share, what: None,
) -> Answer:
    """Ask a model, and where it is wanted the frozen CLIP, for names in an image.

    No text of the request is ever taken for a file's name.

    Args:
        request: what is asked.
        image: RGB uint8 [H, W, 3].
        shelf: of the models.
        progress: called with the share of the work that is done, 0..1, and what comes next.

    Raises:
        FileNotFoundError, ValueError: what is wrong with the request, or why the model cannot be had.
    """
    for text in (request.names, request.background):
        if len(text) > LONGEST_TEXT:
            raise InputError(f"at most {LONGEST_TEXT} characters of class names are taken here")
    if not request.names.strip():
        raise InputError("no class names: write some, such as 'cat, grass, traffic light'")
    vocabulary = names_of_text(request.names)
    background = names_of_text(request.background) if request.background.strip() else None
    if len(vocabulary.asked) > MOST_NAMES:
        raise InputError(f"{len(vocabulary.asked)} class names; at most {MOST_NAMES} are taken here")
    options: dict[str, Any] = dict(background=background, threshold=check_score(request.threshold, "threshold") or None)

    def ask(inferencer: ImageInferencer) -> Result:
        pixels = np.ascontiguousarray(image[..., ::-1])
        size = 4 * image.shape[0] * image.shape[1] * len(vocabulary.asked)
        wanted = isinstance(inferencer, OpenVocabInferencer) and size <= SCORE_BYTES
        scores: dict[str, Any] = dict(scores=True) if wanted else {}
        (result,) = inferencer([pixels], vocabulary, **options, **scores)
        return result

    progress(0.1, f"opening {request.model}")
    inferencer = shelf.inferencer(request.model)
    progress(0.4, f"looking for {counted(len(vocabulary), 'name')}")
    result, frozen, notes = ask(inferencer), None, []
    if request.compare:
        progress(0.7, "asking the frozen CLIP")
        try:
            frozen = ask(shelf.frozen(request.model))
        except (ValueError, FileNotFoundError) as error:
            notes.append(f"no comparison: {error}")
    progress(0.9, "drawing")
    if result.scores is None and result.boxes is None:
        notes.append("no heat maps: this model, or so many names, have no score maps")
    return Answer(result, frozen, heat_maps(result), tuple(notes))


def heat_maps(result: Result) -> tuple[tuple[NDArray[np.uint8], str], ...]:
    """Heat maps of the names with the highest scores, with their titles."""
    if result.scores is None:
        return ()
    highest = result.scores.max(axis=(1, 2))
    order = np.argsort(-highest, kind="stable")[:MOST_MAPS]
    return tuple(
        (draw_heat_map(result.image, result.scores[index]), f"{result.vocabulary[index]}, up to {highest[index]:.2f}")
        for index in order.tolist()
    )
