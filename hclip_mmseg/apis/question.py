"""What a model is asked for: class names, what competes with them, and when a pixel has none of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.near_names import did_you_mean
from hclip_mmseg.files.scores import check_score
from hclip_mmseg.models.name_groups import MERGES, NameGroups
from hclip_mmseg.results import Boxes, Result
from hclip_mmseg.vocabularies import Names, Vocabulary, read_vocabulary
from hclip_mmseg.vocabularies.labels import label_of_no_class
from hclip_mmseg.vocabularies.vocabulary import read_by_clip

BACKGROUND, OTHER = "background", "other"


@dataclass(frozen=True)
class Rules:
    """What competes with the class names, and when a pixel has none of them.

    Attributes:
        background: names that compete and are called "background" together; None: there are none.
        negatives: names that compete and are not reported: their pixels have no class.
        other: whether pixels that no class reaches are labelled "other"; else they have no class.
        threshold: least score of a pixel's class, 0..1: a number, class name -> number, or a text such as
            "0.3, cat=0.5". None: there is none.
        merge: 'max': all synonyms of a class are compared, and it has the best one's score; 'mean': their mean. None:
            the model compares the first synonym, or all, as published; a vocabulary's own members are merged by 'max'.
        drop_absent: class names whose highest score in an image is below this are not looked for in it, 0..1
            (RADSeg's prompt denoising takes 0.5); None: all are.
    """

    background: str | Path | Vocabulary | Sequence[str] | None = None
    negatives: str | Path | Vocabulary | Sequence[str] | None = None
    other: bool = False
    threshold: float | str | Mapping[str, float] | None = None
    merge: str | None = None
    drop_absent: float | None = None


RULES = tuple(field.name for field in fields(Rules))
"""Names of the rules."""


@dataclass(frozen=True)
class Question:
    """What a model is asked for.

    Attributes:
        asked: the vocabulary as it was given.
        names: the class names that results are given in.
        compared: all names that the model compares.
        groups: the class of every name that is compared; behind those of ``names`` classes that are not reported.
        reported: how many of the groups' classes are reported, the first ones.
        thresholds: least score of each of ``names``; () where there is none.
        other: index in ``names`` of the pixels that no class reaches, or None.
        templates: the prompt templates.
    """

    asked: Vocabulary
    names: tuple[str, ...]
    compared: Vocabulary
    groups: NameGroups
    reported: int
    thresholds: tuple[float, ...] = ()
    other: int | None = None
    templates: tuple[str, ...] = ()

    def segmented(
        self,
        source: str,
        image: NDArray[np.uint8],
        labels: NDArray[np.int64],
        certainty: NDArray[np.float32] | None = None,
        scores: NDArray[np.float32] | None = None,
        presence: Tensor | None = None,
    ) -> Result:
        """A model's label map as a result.

        Args:
            source: the image's path or place.
            image: RGB uint8 [H, W, 3].
            labels: [H, W], indices of the groups' classes; other values are no class.
            certainty: [H, W], the score of every pixel's label.
            scores: [classes, H, W] of the groups.
            presence: [classes], the highest score of each.

        Raises:
            ValueError: if there are thresholds and no certainty.
        """
        own, reported = len(self.groups.names), self.reported
        none = label_of_no_class(len(self.names))
        left_out = (labels >= reported) & (labels < own)
        unreached = (labels < 0) | (labels >= own)
        if self.thresholds:
            if certainty is None:
                raise InputError("this model says no scores of labels: thresholds have no meaning for it")
            least = np.zeros(own + 1, np.float32)
            least[:reported] = self.thresholds[:reported]
            unreached |= certainty < least[np.where(unreached, -1, labels)]
        settled = np.where(unreached, none if self.other is None else self.other, labels)
        settled[left_out] = none
        if scores is not None:
            scores = scores[:reported]
            if reported < len(self.names):  # "other" has no score of its own
                scores = np.concatenate([scores, np.zeros_like(scores[:1])])
        return Result(
            source, image, self.names, settled, scores, certainty, things=self._things(),
            thresholds=self.thresholds, presence={} if presence is None else self._presence(presence.tolist()),
        )  # fmt: skip

    def relabelled(self, result: Result, scores: NDArray[np.float32]) -> Result:
        """A result with other scores [T, H, W] of the same class names, and the labels that follow from them."""
        own = scores[: self.reported]
        presence = torch.from_numpy(own.max(axis=(1, 2)))
        return self.segmented(result.source, result.image, own.argmax(axis=0), own.max(axis=0), scores, presence)

    def detected(self, source: str, image: NDArray[np.uint8], boxes: Boxes) -> Result:
        """A detector's boxes, labelled by names that are compared, as a result."""
        labels = np.array(self.groups.folds)[boxes.labels] if len(boxes) else boxes.labels
        boxes = replace(boxes, labels=labels)
        highest = np.zeros(len(self.groups.names), np.float32)
        np.maximum.at(highest, labels, boxes.scores)
        background = [self.names.index(BACKGROUND)] if BACKGROUND in self.names else []
        kept = (labels < self.reported) & ~np.isin(labels, background)
        if self.groups.least_presence is not None:
            kept &= highest[labels] >= self.groups.least_presence
        if self.thresholds:
            kept &= boxes.scores >= np.append(self.thresholds, 0)[np.minimum(labels, self.reported)]
        presence = self._presence(highest.tolist())
        return Result(
            source, image, self.names, boxes=boxes[kept], things=self._things(), thresholds=self.thresholds,
            presence=presence,
        )  # fmt: skip

    def _presence(self, highest: Sequence[float]) -> dict[str, float]:
        return dict(zip(self.names[: self.reported], highest, strict=False))

    def _things(self) -> tuple[bool, ...]:
        return (*self.groups.things[: self.reported], *[False] * (len(self.names) - self.reported))


def ask(vocabulary: Vocabulary, rules: Rules, competitors: Sequence[str] = ()) -> Question:
    """The question for a vocabulary; its templates are still to be filled in.

    Args:
        vocabulary: the class names; may be none.
        rules: what competes with them, and when a pixel has none of them.
        competitors: names that the model compares beside them and that are not reported.

    Raises:
        FileNotFoundError, ValueError: if a rule is wrong: which, and what it may be.
    """
    check_rules(rules)
    asked = vocabulary
    if rules.merge is not None:
        vocabulary = with_synonyms_as_members(vocabulary)
    background = _competing(rules.background, "background")
    negatives = _competing(rules.negatives, "negatives")
    check_apart(vocabulary, background, negatives)
    names, compared = list(vocabulary.classes), [*vocabulary.asked, *background, *negatives, *competitors]
    folds = list(vocabulary.folds or range(len(vocabulary)))
    things = list(vocabulary.things) if vocabulary.background_from is None else (
        [False, *vocabulary.things[: vocabulary.background_from]]
    )  # fmt: skip
    if background:
        if BACKGROUND not in names:
            names.append(BACKGROUND)
            things.append(False)
        folds += [names.index(BACKGROUND)] * len(background)
    left_out, reported = [*negatives, *competitors], len(names)
    folds += range(len(names), len(names) + len(left_out))
    counted = (*things, *[False] * len(left_out))
    groups = NameGroups((*names, *left_out), tuple(folds), rules.merge or MERGES[0], rules.drop_absent, counted)
    other = None
    if rules.other:
        if OTHER not in names:
            names.append(OTHER)
        other = names.index(OTHER)
    if tuple(compared) != vocabulary.titles:
        given = Vocabulary(
            tuple(compared), whole=vocabulary.whole, repeats=vocabulary.repeats or bool(vocabulary.members)
        )
    else:
        given = vocabulary
    thresholds = () if rules.threshold is None else read_thresholds(rules.threshold, names)
    return Question(asked, tuple(names), given, groups, reported, thresholds, other)


def with_synonyms_as_members(vocabulary: Vocabulary) -> Vocabulary:
    """A vocabulary whose classes are asked for by all their synonyms; of a name that several share the first has it.

    One that has members or a background of its own stays as it is.

    Raises:
        ValueError: if a class has no name of its own.
    """
    if vocabulary.members is not None or vocabulary.background_from is not None:
        return vocabulary
    seen: set[str] = set()
    members = []
    for title, synonyms in zip(vocabulary.titles, vocabulary.synonyms, strict=True):
        own = tuple(name for name in dict.fromkeys(synonyms) if read_by_clip(name) not in seen)
        if not own:
            raise InputError(f"all names of '{title}' stand for earlier classes: leave it out, or merge")
        seen |= {read_by_clip(name) for name in own}
        members.append(own)
    return replace(vocabulary, members=tuple(members))


def check_rules(rules: Rules) -> None:
    """Check what rules say by themselves.

    Raises:
        ValueError: which is wrong, and what it may be.
    """
    if rules.merge is not None and rules.merge not in MERGES:
        raise InputError(f"merge must be one of {', '.join(MERGES)}, not {rules.merge!r}")
    if rules.drop_absent is not None:
        check_score(rules.drop_absent, "drop_absent")
    if rules.other and rules.threshold is None and rules.drop_absent is None:
        raise InputError(
            "other needs a threshold or drop_absent: without them every pixel has a class name, and none is left over"
        )


def _competing(names: Names | None, where: str) -> tuple[str, ...]:
    if names is None:
        return ()
    if not names or str(names).isspace():
        raise InputError(f"{where} holds no names: give some, or leave it out")
    return read_vocabulary(names).titles


def check_apart(vocabulary: Vocabulary, background: Sequence[str], negatives: Sequence[str]) -> None:
    """Check that no name competes with itself.

    Raises:
        ValueError: which does.
    """
    seen = {read_by_clip(name): "a class name" for name in (*vocabulary.asked, *vocabulary.names)}
    for where, names in (("background", background), ("negatives", negatives)):
        for name in names:
            if read_by_clip(name) in seen:
                raise InputError(f"'{name}' is {seen[read_by_clip(name)]} and in {where}: give it once")
        seen |= {read_by_clip(name): f"in {where}" for name in names}


def read_thresholds(given: float | str | Mapping[str, float], names: Sequence[str]) -> tuple[float, ...]:
    """The least score of each class name.

    Args:
        given: a number for all; class name -> number; or a text with commas between such: "0.3, cat=0.5". A name is
            called by its title or its first synonym; those not named have the number alone, or 0.
        names: the class names.

    Raises:
        ValueError: for a name that is none, or a number that is no score.
    """
    common, own = 0.0, dict[str, float]()
    if isinstance(given, Mapping):
        own = {name: check_score(value, f"the threshold of '{name}'") for name, value in given.items()}
    elif isinstance(given, str):
        for part in given.split(","):
            called, separator, number = part.rpartition("=")
            if separator:
                own[called.strip()] = check_score(number.strip(), f"the threshold of '{called.strip()}'")
            else:
                common = check_score(part.strip(), "the threshold")
    else:
        common = check_score(given, "the threshold")
    found = [common] * len(names)
    places = {name: place for place, title in reversed(list(enumerate(names))) for name in (title.split(",")[0], title)}
    for name, value in own.items():
        if name not in places:
            raise InputError(
                f"there is a threshold for '{name}', which is none of the {len(names)} class names"
                + did_you_mean(name, places)
            )
        found[places[name]] = value
    return tuple(found)
