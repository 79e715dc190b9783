"""What every kind of annotation is read as: a number at each pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hclip_mmseg.files.errors import InputError

UNLABELLED = -1
"""The number of a pixel that nobody annotated."""

Numbers = NDArray[np.int32]


@dataclass(frozen=True)
class Sample:
    """An annotated image.

    Attributes:
        name: its path below the images' folder, without the suffix.
        image: its file.
        annotation: what its source's ``read`` needs, such as the file of a label map.
    """

    name: str
    image: Path
    annotation: Any


@dataclass(frozen=True)
class Source:
    """Annotated images of one kind.

    Attributes:
        kind: of annotation, as people call it.
        samples: the images that have one.
        read: sample -> numbers ``int32 [H, W]``, ``UNLABELLED`` where there is no annotation; raises ValueError for a
            file that is wrong. It is sent to other processes.
        names: what the annotation calls its numbers from 0; None: numbers alone.
        complete: whether every pixel is meant to be annotated, as in label maps, or objects alone.
        notes: what was assumed in finding them, and how to say otherwise.
    """

    kind: str
    samples: Sequence[Sample]
    read: Callable[[Sample], Numbers]
    names: tuple[str, ...] | None = None
    complete: bool = True
    notes: tuple[str, ...] = field(default=())


def paired(
    images: Mapping[str, Path], annotations: Mapping[str, Any], what: str, suffix: str | None = None
) -> tuple[list[Sample], tuple[str, ...]]:
    """Images with the annotations of their names.

    Args:
        images, annotations: by name.
        what: annotations are called.
        suffix: that an annotation's name has beyond the image's, such as "_mask"; None: none, or, where no names are
            the same, the one that most have.

    Returns:
        The samples, and what was assumed.

    Raises:
        FileNotFoundError: if no image has one.
    """
    notes = []
    if suffix is None and any(images[name] == annotations[name] for name in images if name in annotations):
        raise InputError(
            f"images and {what} are the same files: give the folder of each, or, where they lie in one, --mask-suffix"
        )
    if suffix is None and not set(images) & set(annotations):
        suffix = _common_ending(images, annotations)
        if suffix:
            notes.append(f"{what} are called as their images with '{suffix}' behind (otherwise: --mask-suffix)")
    found = {name: annotations[f"{name}{suffix or ''}"] for name in images if f"{name}{suffix or ''}" in annotations}
    if not found:
        shown = f"{next(iter(images), 'none')} and {next(iter(annotations), 'none')}"
        raise FileNotFoundError(
            f"no image has {what} of its name: {len(images)} images, {len(annotations)} {what}, such as {shown}; names "
            "must be the same but for the file's suffix (see --mask-suffix)"
        )
    lonely = [name for name in images if name not in found]
    if lonely:
        notes.append(f"{len(lonely)} of {len(images)} images have no {what} and are left out: {shown_some(lonely)}")
    known = {f"{name}{suffix or ''}" for name in images}
    stray = [name for name in annotations if name not in known]
    if stray:
        notes.append(f"{len(stray)} {what} have no image and are left out: {shown_some(stray)}")
    return [Sample(name, images[name], annotation) for name, annotation in found.items()], tuple(notes)


def shown_some(items: Sequence[str], most: int = 3) -> str:
    """The first of a list, as a message says it."""
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def _common_ending(images: Mapping[str, Path], annotations: Mapping[str, Any]) -> str | None:
    """What most annotations' names have behind an image's name."""
    names = sorted(images)
    endings: Counter[str] = Counter()
    for annotation in annotations:
        heads = [name for name in names if annotation.startswith(name)]
        if heads:
            endings[annotation[len(max(heads, key=len)) :]] += 1
    return endings.most_common(1)[0][0] if endings else None
