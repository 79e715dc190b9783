"""From the scores of names to those of the classes that the names count as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hclip_mmseg.models.score_maps import best_class

MERGES = ("max", "mean")


class ClassMaps(NamedTuple):
    """Scores of the classes that an image has.

    Attributes:
        classes: int64 [K], their indices, ascending.
        scores: [K, ...].
        presence: [classes], the highest score of every class anywhere in the image, also of those left out.
    """

    classes: Tensor
    scores: Tensor
    presence: Tensor

    def best(self, size: tuple[int, int], no_class: int) -> tuple[Tensor, Tensor]:
        """Index and score of the best class of every pixel; ``no_class`` and 0 where the image has no class.

        Args:
            size: height and width that the scores [K, h, w] are resized to.
            no_class: the label of no class.
        """
        if not len(self.classes):
            nothing = self.scores.new_zeros(size)
            return nothing.long() + no_class, nothing
        label, score = best_class(self.scores, size)
        return self.classes[label], score


@dataclass(frozen=True)
class NameGroups:
    """Which of the names that a model compares count as the same class, and which classes an image has.

    A model finds it in its data sample's meta information, ``name_groups``, and gives its result in classes then.

    Attributes:
        names: of the classes.
        folds: for every name that is compared the index of its class.
        merge: what score a class has: 'max', its best name's, or 'mean', the mean of all its names'.
        least_presence: classes whose score is below this at every pixel are left out of the image (the prompt denoising
            of RADSeg, arXiv 2511.19704); None: none is.
        things: for every class whether it is counted one by one; () where the model counts nothing.

    Raises:
        ValueError: for another ``merge``.
    """

    names: tuple[str, ...]
    folds: tuple[int, ...]
    merge: str = "max"
    least_presence: float | None = None
    things: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if self.merge not in MERGES:
            raise ValueError(f"merge must be one of {', '.join(MERGES)}, not {self.merge!r}")

    @property
    def merges(self) -> bool:
        """Whether names are more than classes."""
        return self.folds != tuple(range(len(self.names)))

    def merged(self, scores: Tensor, names: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scores of names [N, ...] as scores of classes.

        Args:
            scores: [N, ...].
            names: int64 [N], indices of the names, ascending; None: all. The score of others is 0.

        Returns:
            int64 [K], the classes that have a score, ascending, and their scores [K, ...].
        """
        folds = torch.tensor(self.folds, device=scores.device)
        own = folds if names is None else folds[names]
        if not self.merges:
            return own, scores
        classes, places = own.unique(return_inverse=True)
        merged = scores.new_zeros(len(classes), *scores.shape[1:])
        if self.merge == "max":
            # index_reduce_ took 13 times as long for maps on a CPU, and warns of being in beta
            everywhere = places.view(-1, *[1] * (scores.ndim - 1)).expand_as(scores)
            return classes, merged.scatter_reduce_(0, everywhere, scores, "amax", include_self=False)
        members = folds.bincount()[classes].view(-1, *[1] * (scores.ndim - 1))
        return classes, merged.index_add_(0, places, scores) / members

    def class_maps(self, scores: Tensor, names: Tensor | None = None) -> ClassMaps:
        """Scores of names [N, ...] as those of the classes that the image has; see :meth:`merged`."""
        classes, merged = self.merged(scores, names)
        highest = merged.flatten(1).amax(dim=1)
        presence = highest
        if len(classes) < len(self.names):
            presence = highest.new_zeros(len(self.names)).index_copy_(0, classes, highest)
        if self.least_presence is not None:
            here = highest >= self.least_presence
            classes, merged = classes[here], merged[here]
        return ClassMaps(classes, merged, presence)


def one_each(names: Sequence[str]) -> NameGroups:
    """Every name as a class of its own."""
    return NameGroups(tuple(names), tuple(range(len(names))))
