"""What the numbers of an annotation mean: which class, no class, or nothing that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hclip_mmseg.datasets.own.source import UNLABELLED, Source, shown_some
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.vocabularies import check_names, read_vocabulary
from hclip_mmseg.vocabularies.labels import label_of_no_class

BACKGROUND = "background"


@dataclass(frozen=True)
class Meaning:
    """Labels of an annotation's numbers.

    Attributes:
        titles: the classes in label order.
        labels: number -> label; ``ignore_index`` for pixels without a class.
        assumed: what was assumed, each with how to say otherwise.
    """

    titles: tuple[str, ...]
    labels: Mapping[int, int]
    assumed: tuple[str, ...]

    @property
    def ignore_index(self) -> int:
        """The label of pixels without a class."""
        return label_of_no_class(len(self.titles))

    def label(self, numbers: NDArray[np.int32]) -> NDArray[np.integer]:
        """Numbers [H, W] -> labels, of 8 bits where they hold all, else of 16."""
        found, places = np.unique(numbers, return_inverse=True)
        kind = np.uint8 if self.ignore_index < 256 else np.uint16
        values: NDArray[np.integer] = np.array([self.labels[int(number)] for number in found], kind)
        return values[places].reshape(numbers.shape)


def find_meaning(
    source: Source,
    pixels: Mapping[int, int],
    classes: Sequence[str] | str | None,
    *,
    unlabelled: str | None = None,
    ignored: Sequence[int] = (),
    first_label: int | None = None,
) -> Meaning:
    """What each number means, from class names and from the numbers that occur.

    Args:
        source: of the annotation.
        pixels: number -> how many pixels have it, over all images.
        classes: titles in label order, or what :func:`~hclip_mmseg.vocabularies.read_vocabulary` reads; None: the
            annotation's own names.
        unlabelled: 'ignore', or the class that pixels without annotation are of; None: "background" where objects alone
            are annotated, or labels start at 1.
        ignored: numbers that stand for no class.
        first_label: number of the first class in label maps; None: found out.

    Raises:
        ValueError: if there are no names, or numbers that none belongs to.
    """
    if classes is None and source.names is None:
        raise InputError(f"{source.kind} hold numbers alone: give --classes, their names in the order of the numbers")
    titles = read_vocabulary(classes).titles if classes is not None else check_names(_asked(source.names or ()))
    if source.names is not None:
        if ignored or first_label is not None:
            raise InputError(f"--ignore-label and --first-label are for label maps of numbers, not for {source.kind}")
        return _named(source, pixels, titles, unlabelled, given=classes is not None)
    return _numbered(source, pixels, titles, unlabelled, set(ignored), first_label)


def _asked(names: Sequence[str]) -> list[str]:
    return [name.replace("_", " ") for name in names if name.strip().lower() != BACKGROUND]


def _named(
    source: Source, pixels: Mapping[int, int], titles: tuple[str, ...], unlabelled: str | None, given: bool
) -> Meaning:
    """By the names that the annotation itself has."""
    assert source.names is not None
    by_name = {plain(name): label for label, title in enumerate(titles) for name in title.split(",")}
    known = {number: by_name.get(plain(name)) for number, name in enumerate(source.names)}
    beyond = sorted(number for number in pixels if number >= len(source.names))
    if beyond:
        raise InputError(
            f"the annotation has the class number {beyond[0]}, and only {len(source.names)} names: "
            f"{shown_some(source.names, 5)}"
        )
    if not any(label is not None for label in known.values()):
        raise InputError(
            f"none of the classes {shown_some(titles, 5)} is in the annotation, which has {shown_some(source.names, 8)}"
        )
    lacking = [title for label, title in enumerate(titles) if label not in known.values()]
    assumed = []
    if lacking:
        assumed.append(f"{shown_some(lacking)}: in --classes and not in the annotation, so no pixel shows it")
    strangers = [source.names[number] for number in sorted(pixels) if number >= 0 and known[number] is None]
    if strangers and given:
        assumed.append(f"{shown_some(strangers, 5)}: not among --classes, so taken as without annotation")
    elif not given:
        assumed.append(f"classes are the annotation's own, {shown_some(titles, 8)} (otherwise: --classes)")
    nothing = {UNLABELLED} & set(pixels) | {number for number in known if known[number] is None}
    objects = not source.complete or any(plain(name) == BACKGROUND for name in strangers)
    labels = {number: label for number, label in known.items() if number not in nothing}
    return _with_unlabelled(pixels, titles, labels, nothing, unlabelled, objects, assumed)


def _numbered(
    source: Source,
    pixels: Mapping[int, int],
    titles: tuple[str, ...],
    unlabelled: str | None,
    ignored: set[int],
    first_label: int | None,
) -> Meaning:
    """By the place of a number in the list of names."""
    count, occurring = len(titles), set(pixels) - {UNLABELLED} - ignored
    assumed, nothing = [], {UNLABELLED} & set(pixels)
    no_class = label_of_no_class(count)
    if no_class in occurring and occurring - {0, no_class}:
        assumed.append(f"{no_class} is no class and ignored (always, in label maps of this form)")
        ignored, occurring = ignored | {no_class}, occurring - {no_class}
    if first_label is None and count == 1 and occurring == {0, 255} - ignored and source.complete:
        assumed.append(
            f"masks of 0 and 255: 255 is '{titles[0]}', 0 is without annotation (otherwise: --ignore-label 255)"
        )
        numbers = {255: 0}
        nothing |= {0}
    else:
        if first_label is None:
            first_label = int(source.complete and count in occurring and max(occurring) == count)
            if first_label:
                assumed.append(
                    f"labels start at 1: 1 is '{titles[0]}', {count} is '{titles[-1]}', 0 is without annotation "
                    "(otherwise: --first-label 0)"
                )
            elif occurring:
                assumed.append(f"labels start at 0: 0 is '{titles[0]}' (otherwise: --first-label 1)")
        numbers = {label + first_label: label for label in range(count)}
        nothing |= {0} if first_label and 0 not in ignored else set()
    outside = sorted(occurring - set(numbers) - nothing)
    if outside:
        hint = " masks drawn as 0 and 255 are of one class, each in a file of its own;" if outside == [255] else ""
        raise InputError(
            f"labels {shown_some([str(number) for number in outside], 8)} ({sum(pixels[n] for n in outside):,} pixels) "
            f"are outside the {count} classes, {min(numbers)} to {max(numbers)}:{hint} name all of them in --classes "
            "in the order of the numbers, or give --ignore-label NUMBER ..."
        )
    labels = {**numbers, **dict.fromkeys(ignored, None)}
    objects = not source.complete or 0 in nothing
    return _with_unlabelled(pixels, titles, labels, nothing, unlabelled, objects, assumed)


def _with_unlabelled(
    pixels: Mapping[int, int],
    titles: tuple[str, ...],
    labels: Mapping[int, int | None],
    nothing: set[int],
    unlabelled: str | None,
    objects: bool,
    assumed: list[str],
) -> Meaning:
    """Give pixels without annotation a class, or none."""
    amount = sum(pixels.get(number, 0) for number in nothing)
    if unlabelled is None:
        unlabelled = BACKGROUND if objects else "ignore"
        if amount:
            share = f"{amount / sum(pixels.values()):.1%}"
            said, other = (f"are of a class '{BACKGROUND}'", "ignore") if objects else ("are ignored", "NAME")
            assumed.append(f"pixels without annotation ({share}) {said} (otherwise: --unlabelled {other})")
    label: int | None = None
    if unlabelled != "ignore" and amount:
        own = {plain(name): label for label, title in enumerate(titles) for name in title.split(",")}
        label = own.get(plain(unlabelled), len(titles))
        titles = titles if label < len(titles) else (*titles, unlabelled)
    no_class = label_of_no_class(len(titles))
    found = {**labels, **dict.fromkeys(nothing, label)}
    return Meaning(
        titles, {number: no_class if value is None else value for number, value in found.items()}, tuple(assumed)
    )


def plain(name: str) -> str:
    """A name in small letters, words with blanks between."""
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())
