"""Maps of scores, one a class or a mask: resized, and the best class of every pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK_BYTES = 1 << 27
"""Bytes that resized maps take at once where all of them together might not fit."""


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Score maps or mask logits [T, h, w] resized bilinearly, corners not aligned.

    Args:
        maps: [T, h, w].
        size: height and width of the result in pixels.

    Returns:
        [T, *size]; ``maps`` itself where it has that size.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def fit_at_once(classes: int, size: tuple[int, int], budget: int = CHUNK_BYTES) -> bool:
    """Whether the resized maps of so many classes take no more than ``budget`` bytes."""
    return 4 * classes * size[0] * size[1] <= budget


def resized_in_chunks(
    scores: Tensor, size: tuple[int, int], budget: int = CHUNK_BYTES
) -> Iterator[tuple[int, Tensor]]:
    """(first class, scores [chunk, H, W] resized bilinearly to ``size``) for chunks of classes [T, h, w].

    A chunk takes no more than ``budget`` bytes, unless one class does.
    """
    chunk = max(budget // (4 * size[0] * size[1]), 1)
    for start in range(0, len(scores), chunk):
        yield start, resized(scores[start : start + chunk], size)


def best_class(scores: Tensor, size: tuple[int, int], budget: int = CHUNK_BYTES) -> tuple[Tensor, Tensor]:
    """Index and score of the best class of every pixel, without holding all resized maps at once.

    Args:
        scores: [T, h, w].
        size: height and width of the result.
        budget: see :func:`resized_in_chunks`.

    Returns:
        int64 [H, W] and float [H, W].
    """
    if fit_at_once(len(scores), size, budget):
        value, index = resized(scores, size).max(dim=0)
        return index, value
    best = torch.full(size, -torch.inf, device=scores.device)
    label = torch.zeros(size, dtype=torch.long, device=scores.device)
    for start, part in resized_in_chunks(scores, size, budget):
        if len(part) == 1:  # of a large image: nothing to search within the chunk
            better = part[0] > best
            label.masked_fill_(better, start)
            torch.where(better, part[0], best, out=best)
        else:
            value, index = part.max(dim=0)
            better = value > best
            torch.where(better, index.add_(start), label, out=label)
            torch.where(better, value, best, out=best)
            del value, index
        del part, better  # before the next chunk is made
    return label, best


def counts_of(labels: Tensor, classes: int) -> Tensor:
    """How often each label stands in a tensor; a GPU is not waited for.

    Args:
        labels: int64 [n], 0 to classes - 1.
        classes: number of labels.

    Returns:
        int64 [classes].
    """
    if labels.device.type == "cpu":
        return labels.bincount(minlength=classes)
    return labels.new_zeros(classes).scatter_add_(0, labels, labels.new_ones(1).expand_as(labels))


def score_of_label(scores: Tensor, labels: Tensor) -> Tensor:
    """The score that every pixel's label has, without holding all resized maps at once.

    Args:
        scores: [T, h, w].
        labels: int64 [H, W]; where a label is no class the score is 0.

    Returns:
        [H, W].
    """
    found = scores.new_zeros(labels.shape)
    here = labels.unique()
    here = here[(here >= 0) & (here < len(scores))]
    for start, part in resized_in_chunks(scores[here], (labels.shape[0], labels.shape[1])):
        for label, own in zip(here[start : start + len(part)], part, strict=True):
            found = own.where(labels == label, found)
    return found


FLIPS = {"horizontal": (-1,), "vertical": (-2,), "diagonal": (-1, -2)}


def unflipped(maps: Tensor, metainfo: Mapping[str, Any]) -> Tensor:
    """Maps [..., H, W] of an image that a pipeline flipped, turned back.

    Args:
        maps: scores or labels.
        metainfo: of the image: ``flip``, ``flip_direction``.

    Raises:
        ValueError: on an unknown direction.
    """
    if not metainfo.get("flip"):
        return maps
    direction = metainfo.get("flip_direction")
    if direction not in FLIPS:
        raise ValueError(f"an image cannot be turned back from flip_direction={direction!r}; known: {', '.join(FLIPS)}")
    return maps.flip(FLIPS[direction])
