"""Prompts in batches that cost the text tower least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hclip_mmseg.clip import Tokenizer

SMALLEST = 32
"""Fewest texts for which a batch of their own pays."""
SMALLEST_ON_GPU = 256
"""The same on a GPU, which computes positions behind a text's end in less time than it takes to launch a batch."""


@dataclass(frozen=True)
class Prompts:
    """Tokens of all prompts, as arrays in main memory: they can be cut in a forward pass, which waits for no device.

    Attributes:
        tokens: int64 [names, templates, length].
        ends: [names, templates] position that each text is read at; None where texts cannot be cut behind it.
    """

    tokens: NDArray[np.int64]
    ends: NDArray[np.int64] | None

    @classmethod
    def of(cls, tokens: Tensor, tokenizer: Tokenizer) -> Prompts:
        """Prompts of tokens [names, templates, length] that a tokenizer made."""
        ends = tokenizer.ends(tokens.flatten(0, 1)).view(tokens.shape[:2]).numpy() if tokenizer.cuts else None
        return cls(tokens.numpy(), ends)

    def some(self, names: NDArray[np.integer | np.bool_]) -> Prompts:
        """The prompts of some names, by their places or a mask."""
        return Prompts(self.tokens[names], None if self.ends is None else self.ends[names])


def length_buckets(
    ends: NDArray[np.int64], largest: int, smallest: int = SMALLEST
) -> tuple[NDArray[np.int64], list[int]]:
    """Groups texts of like length, since the text tower cuts a batch at its longest text.

    Args:
        ends: [N] position of each text's end token.
        largest: most texts in a bucket.
        smallest: fewest texts for which a bucket of their own pays.

    Returns:
        [N] indices of the texts by length, and the sizes of the buckets that they fall into.
    """
    sizes = [0]
    for count in np.unique(ends, return_counts=True)[1].tolist():
        if sizes[-1] >= smallest:
            sizes.append(0)
        sizes[-1] += count
    if len(sizes) > 1 and sizes[-1] < smallest:
        last = sizes.pop()
        sizes[-1] += last
    bounded = [[largest] * (size // largest) + [size % largest] * (size % largest > 0) for size in sizes]
    return ends.argsort(kind="stable"), [size for bucket in bounded for size in bucket]


def shared_start(tokens: NDArray[np.int64], ends: NDArray[np.int64]) -> int:
    """How many tokens texts [N, length] begin with alike, which one computation can serve; 0 for a single text.

    End tokens, at the places ``ends`` [N], are never among them, even where texts are the same.
    """
    if len(tokens) < 2:
        return 0
    alike = (tokens == tokens[0]).all(axis=0).cumprod().sum()
    return int(min(alike, np.min(ends)))


class TextBatches(NamedTuple):
    """Tokens of all prompts as the text tower takes them: texts of like length together, each batch cut.

    With many names the prompts of a template make batches of their own, which begin alike (:func:`shared_start`).

    Attributes:
        tokens: of each batch, int64 [n, length].
        shared: of each batch, how many tokens its texts begin with alike.
        places: [names * templates] where the text of each prompt lies among those of all batches.
        names, templates: how many there are.
    """

    tokens: tuple[Tensor, ...]
    shared: tuple[int, ...]
    places: Tensor
    names: int
    templates: int

    @classmethod
    def of(cls, prompts: Prompts, largest: int, smallest: int = SMALLEST) -> TextBatches:
        """Batches of prompts; texts stay whole where they cannot be cut.

        Args:
            prompts: all of them.
            largest: most texts in a batch.
            smallest: fewest texts for which a batch of their own pays.
        """
        names, templates, length = prompts.tokens.shape
        texts, places = prompts.tokens.reshape(-1, length), np.arange(names * templates)
        if prompts.ends is None:
            whole = torch.from_numpy(texts).split(largest)
            return cls(whole, (0,) * len(whole), torch.from_numpy(places), names, templates)
        ends = prompts.ends.reshape(-1)
        groups = places.reshape(names, templates).T if names >= SMALLEST else [places]
        parts: list[NDArray[np.int64]] = []
        for group in groups:
            order, sizes = length_buckets(ends[group], largest, smallest)
            parts += np.split(group[order], np.cumsum(sizes)[:-1])
        cut = tuple(torch.from_numpy(texts[part, : int(np.max(ends[part])) + 1]) for part in parts)
        shared = tuple(shared_start(texts[part], ends[part]) for part in parts)
        return cls(cut, shared, torch.from_numpy(np.concatenate(parts).argsort()), names, templates)

    def to(self, device: torch.device) -> TextBatches:
        """The same on a device."""
        if self.places.device == device:
            return self
        tokens = tuple(part.to(device) for part in self.tokens)
        # torch 2.11 loses what `_replace` makes in a compiled step
        return TextBatches(tokens, self.shared, self.places.to(device), self.names, self.templates)
