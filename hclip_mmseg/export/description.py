"""What an exported file says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.models.segmentors.views import check_views

KEY = "hclip_mmseg"
"""Where the description stands in a file's metadata."""
FORMAT = 1
"""Raised when a description changes so that older runners would read it wrongly."""
KINDS = ("views", "patches", "boxes")


@dataclass(frozen=True)
class Description:
    """All that is needed to go from an image to the file's input, and from its output to a label map.

    Attributes:
        kind: 'views', a segmentor's logits of views, 'patches', the patches' logits of a training-free model, or
            'boxes', a detector's boxes and their scores.
        vocabulary: the class names, in label order.
        folds: for every name that is compared the index of its class; a class of several has its best name's score.
            -1 of 'boxes': the name competes, and is not reported.
        colours: RGB in 0..255 of each name.
        mean, std: of the pixels, in RGB order, 0..255.
        size: height and width of the input in pixels; None: multiples of ``patch``.
        patch: side of a patch in pixels.
        batch: how many images the input holds; None: any number.
        resize: ``short_side`` and ``max_size`` in pixels that images are brought to first (``PublishedResize``), or
            None.
        settings: how an image is looked at: ``test_cfg`` of a segmentor, a training-free model's ``resolution``, or
            what :func:`~hclip_mmseg.export.onnx_boxes.on_canvas` and ``best_boxes`` read.
        half: whether weights and activations are in 16 bits; input and output are in 32 anyway.
        versions: of what wrote the file.
        int8: of weights in 8 bits: the ``share`` of labels that are those of 32 bits, on how many ``images``, and how
            many of the large ``matrices`` are in 8 bits, ``of`` how many. None: there are none.
    """

    kind: str
    vocabulary: tuple[str, ...]
    folds: tuple[int, ...]
    colours: tuple[tuple[int, ...], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None
    patch: int
    batch: int | None
    resize: Mapping[str, int] | None
    settings: Mapping[str, Any]
    half: bool
    versions: Mapping[str, str]
    int8: Mapping[str, float] | None = None

    def to_text(self) -> str:
        """The description as JSON."""
        return json.dumps({"format": FORMAT, **asdict(self)})

    @classmethod
    def of_text(cls, text: str | None, source: str) -> Description:
        """The description in a file's metadata.

        Args:
            text: as :meth:`to_text` gives it; None where the file has none.
            source: what the error calls the file.

        Raises:
            ValueError: if there is none, or it is not such a description.
        """
        if text is None:
            raise InputError(f"{source} was not exported by this project: write one by hclip-export")
        try:
            content = json.loads(text)
            if content.pop("format") != FORMAT:
                raise ValueError("of another release of this project; export the model again")
            found = cls(**{key: _frozen(value) for key, value in content.items()})
            found._check()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"the description in {source} cannot be read: {error}") from error
        return found

    @property
    def merges(self) -> bool:
        """Whether names are more than classes."""
        return self.folds != tuple(range(len(self.vocabulary)))

    def _check(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is none of {', '.join(KINDS)}")
        if not self.vocabulary or not all(isinstance(name, str) for name in self.vocabulary):
            raise ValueError("its vocabulary is no list of class names")
        least = -1 if self.kind == "boxes" else 0
        if not self.folds or not all(least <= fold < len(self.vocabulary) for fold in self.folds):
            raise ValueError("its folds are no indices of class names")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(value > 0 for value in self.std):
            raise ValueError("mean and std are to be three numbers each, std above 0")
        if self.patch < 1:
            raise ValueError(f"patch is {self.patch}")
        if self.kind == "views":
            views = ("mode", "canvas", "window", "overlap", "clip_resolution")
            check_views(**{name: self.settings[name] for name in views})
        elif self.kind == "boxes":
            if self.size is None or len(self.settings["scale"]) != 2 or len(self.settings["pad"]) != 3:
                raise ValueError("it says no size, scale or colour of a canvas")
            for name in ("score_threshold", "iou_threshold"):
                if not 0 <= self.settings[name] <= 1:
                    raise ValueError(f"{name} is {self.settings[name]}")
            if self.settings["max_boxes"] < 1:
                raise ValueError(f"max_boxes is {self.settings['max_boxes']}")
        elif self.settings["resolution"] < 1:
            raise ValueError(f"resolution is {self.settings['resolution']}")


def _frozen(value: Any) -> Any:
    """Lists of JSON as tuples."""
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
