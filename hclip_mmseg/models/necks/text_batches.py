"""Prompts in batches that cost the text tower least."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hclip_mmseg.clip import Tokenizer, cut_behind_longest

SMALLEST = 32
"""Fewest texts for which a batch of their own pays."""
SMALLEST_ON_GPU = 256
"""The same on a GPU, which computes positions behind a text's end in less time than it takes to launch a batch."""


def length_buckets(ends: Tensor, largest: int, smallest: int = SMALLEST) -> tuple[Tensor, list[int]]:
    """Groups texts of like length, since the text tower cuts a batch at its longest text.

    Args:
        ends: [N] position of each text's end token.
        largest: most texts in a bucket.
        smallest: fewest texts for which a bucket of their own pays.

    Returns:
        [N] indices of the texts by length, and the sizes of the buckets that they fall into.
    """
    order = ends.argsort(stable=True)
    sizes = [0]
    for count in ends.unique(return_counts=True)[1].tolist():
        if sizes[-1] >= smallest:
            sizes.append(0)
        sizes[-1] += count
    if len(sizes) > 1 and sizes[-1] < smallest:
        last = sizes.pop()
        sizes[-1] += last
    bounded = [[largest] * (size // largest) + [size % largest] * (size % largest > 0) for size in sizes]
    return order, [size for bucket in bounded for size in bucket]


def shared_start(tokens: Tensor, ends: Tensor) -> int:
    """How many tokens texts [N, length] begin with alike, which one computation can serve; 0 for a single text.

    End tokens, at the places ``ends`` [N], are never among them, even where texts are the same.
    """
    if len(tokens) < 2:
        return 0
    alike = int((tokens == tokens[0]).all(dim=0).int().cumprod(dim=0).sum())
    return min(alike, int(ends.min()))


class TextBatches(NamedTuple):
    """Tokens of all prompts as the text tower takes them: texts of like length together, each batch cut.

    With many names the prompts of a template make batches of their own, which begin alike (:func:`shared_start`).
    Made where the names are set, so that encoding them asks no tensor for a number.

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
    def of(cls, tokens: Tensor, largest: int, tokenizer: Tokenizer, smallest: int = SMALLEST) -> TextBatches:
        """Batches of tokens [names, templates, length]; texts stay whole where they cannot be cut.

        Args:
            tokens: of all prompts.
            largest: most texts in a batch.
            tokenizer: that made them.
            smallest: fewest texts for which a batch of their own pays.
        """
        names, templates = tokens.shape[:2]
        texts = tokens.flatten(0, 1)
        if not tokenizer.cuts:
            whole = texts.split(largest)
            return cls(whole, (0,) * len(whole), torch.arange(len(texts)), names, templates)
        ends = tokenizer.ends(texts)
        prompts = torch.arange(len(texts))
        groups = prompts.view(names, templates).unbind(1) if names >= SMALLEST else [prompts]
        parts: list[Tensor] = []
        for group in groups:
            order, sizes = length_buckets(ends[group], largest, smallest)
            parts += group[order].split(sizes)
        cut = tuple(cut_behind_longest(texts[part], ends[part]) for part in parts)
        shared = tuple(shared_start(texts[part], ends[part]) for part in parts)
        return cls(cut, shared, torch.cat(parts).argsort(), names, templates)

    def to(self, device: torch.device) -> TextBatches:
        """The same on a device."""
        if self.places.device == device:
            return self
        tokens = tuple(part.to(device) for part in self.tokens)
        return self._replace(tokens=tokens, places=self.places.to(device))
