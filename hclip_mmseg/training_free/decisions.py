"""From score maps of names to the label of every pixel: softmax, best name, background by thresholds, absent names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hclip_mmseg.models.score_maps import CHUNK_BYTES

Maps = Callable[[slice], Tensor]
"""A slice of names -> their score maps [chosen, H, W]."""
TILE = 1 << 20
"""Numbers that a sum of exponentials holds at once."""


@dataclass(frozen=True)
class Decision:
    """How scores become labels.

    Attributes:
        scale: factor of the scores in the softmax over all names.
        classes: for every name the index of its class; a class has the probability of its best name.
        background: whether class 0 is background.
        prob_thd: pixels whose best probability is below become background.
        area_thd: classes whose pixels are no more than this part of all pixels that are not background lose them.
        absent_below: names whose largest probability anywhere in the image is below are taken to be absent (prompt
            denoising, RADSeg, section 3.4); 0 for none. At least the most probable name stays.
        absent_scale: factor of the scores in the softmax that tells which are absent.
    """

    scale: float
    classes: tuple[int, ...]
    background: bool = False
    prob_thd: float = 0.0
    area_thd: float = 0.0
    absent_below: float = 0.0
    absent_scale: float = 100.0


class ScoredImage:
    """Score maps of one image, looked at a few names at a time, so that memory does not grow with their number.

    Args:
        maps: gives them.
        size: height and width of the maps.
        names: how many there are.
        budget: bytes of the maps that are held at once.
    """

    def __init__(self, maps: Maps, size: tuple[int, int], names: int, budget: int = CHUNK_BYTES) -> None:
        self.maps, self.size, self.names = maps, size, names
        self.step = max(budget // (4 * size[0] * size[1]), 1)
        self._only: Tensor | None = None

    def _parts(self) -> Iterator[tuple[int, Tensor]]:
        """(first name, maps) of each part; where there is one part, it is made once."""
        if self.step >= self.names:
            if self._only is None:
                self._only = self.maps(slice(0, self.names)).float()
            yield 0, self._only
            return
        for start in range(0, self.names, self.step):
            yield start, self.maps(slice(start, min(start + self.step, self.names))).float()

    def best(self) -> tuple[Tensor, Tensor]:
        """The best name of every pixel, the first of several, and its score: int64 and float [H, W]."""
        best: Tensor | None = None
        label = torch.empty(0)
        for start, part in self._parts():
            value, index = part.max(dim=0)
            if best is None:
                best, label = value, index
            else:
                label = (index + start).where(value > best, label)
                best = torch.maximum(value, best)
        assert best is not None
        return label, best

    def next_best(self, label: Tensor, best: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`best` among some of the names.

        Args:
            label, best: what :meth:`best` gives.
            allowed: bool [names]; a pixel whose label is one of them keeps it.
        """
        lost = ~allowed[label]
        if not bool(lost.any()):
            return label, best
        found = torch.full_like(best[lost], -torch.inf)
        name = torch.zeros_like(label[lost])
        for start, part in self._parts():
            own = part[:, lost].masked_fill(~allowed[start : start + len(part), None], -torch.inf)
            value, index = own.max(dim=0)
            name = (index + start).where(value > found, name)
            found = torch.maximum(value, found)
        return label.masked_scatter(lost, name), best.masked_scatter(lost, found)

    def total(self, scale: float, best: Tensor) -> Tensor:
        """The sum over names of exp(scale x (score - best)), [H, W]: the softmax divides by it."""
        total = torch.zeros_like(best)
        at_once = max(TILE // best.numel(), 1)  # so that what is between stays in a processor's cache
        for _, part in self._parts():
            for some in part.split(at_once):
                total += (some - best).mul_(scale).exp_().sum(dim=0)
        return total

    def log_total(self, scale: float, best: Tensor) -> Tensor:
        """log of the sum over names of exp(scale x score), [H, W]; ``best`` as :meth:`best` gives it."""
        return self.total(scale, best).log_().add_(best, alpha=scale)

    def largest(self, scale: float, log_total: Tensor) -> Tensor:
        """The largest probability of every name anywhere, [names]."""
        return torch.cat([(scale * part - log_total).flatten(1).amax(dim=1).exp() for _, part in self._parts()])

    def probabilities(self, scale: float) -> Tensor:
        """Softmax over names of the scaled scores, [names, H, W]."""
        log_total = self.log_total(scale, self.best()[1])
        return torch.cat([(scale * part - log_total).exp_() for _, part in self._parts()])


def decide(image: ScoredImage, decision: Decision) -> Tensor:
    """The name of every pixel.

    The class of a pixel is that of its most probable name, as a class has the probability of its best name.

    Returns:
        int64 [H, W], indices of names; background is the first name of class 0.
    """
    label, most = image.best()
    best, allowed = most, None
    if decision.absent_below > 0:
        total = image.log_total(decision.absent_scale, most)
        largest = image.largest(decision.absent_scale, total)
        allowed = (largest >= decision.absent_below) | (largest == largest.max())
        label, best = image.next_best(label, best, allowed)
    if decision.background and decision.area_thd > 0:
        classes = torch.tensor(decision.classes, device=label.device)
        kept = large_enough(label, classes, decision.area_thd)[classes]
        if allowed is not None:
            kept = allowed_or_background(kept & allowed, classes)
        label, best = image.next_best(label, best, kept)
    if decision.background and decision.prob_thd > 0:
        sure = (best - most).mul_(decision.scale).exp_() / image.total(decision.scale, most)
        label = label.masked_fill(sure < decision.prob_thd, decision.classes.index(0))
    return label


def large_enough(label: Tensor, classes: Tensor, area_thd: float) -> Tensor:
    """Which classes keep their pixels (SCLIP's code): background, and those that have more than a part of the rest.

    Args:
        label: int64 [H, W], indices of names.
        classes: int64 [names], the class of each; 0 is background.
        area_thd: that part, 0 to 1.

    Returns:
        bool [classes].
    """
    pixels = torch.bincount(classes[label].flatten(), minlength=int(classes.max()) + 1)
    pixels[0] = 0
    kept = pixels > area_thd * pixels.sum()
    kept[0] = True
    return kept


def allowed_or_background(allowed: Tensor, classes: Tensor) -> Tensor:
    """Allowed names; those of background where none would be left."""
    return allowed if bool(allowed.any()) else classes == 0
