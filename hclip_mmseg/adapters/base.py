"""What the towers ask of an adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Tower = Literal["image", "text"]
"""One of CLIP's two transformers."""

PROJECTIONS: tuple[str, ...] = ("q", "k", "v", "out")
"""The projections of a block's attention, in the order in which adapters number them."""


class Adapter(nn.Module):
    """Changes frozen projections of CLIP's attention by a small trainable module.

    A subclass writes :meth:`adapted_weight`; where there is a cheaper way to the projection's output
    than through the adapted weight, it writes :meth:`linear` too. Subclasses that hold something
    between calls write :meth:`refresh` and :meth:`release`.
    """

    def adapted_weight(self, tower: Tower, layer: int, projection: str, weight: Tensor) -> Tensor:
        """The weight that the projection is to be computed with, for folding.

        Args:
            tower: 'image' or 'text'.
            layer: index of the block in its tower, from 0.
            projection: 'q', 'k', 'v' or 'out'.
            weight: the frozen weight, [out, in].

        Returns:
            [out, in], in the dtype of ``weight``.
        """
        raise NotImplementedError

    def linear(
        self, tower: Tower, layer: int, projection: str, x: Tensor, weight: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """Output of the adapted projection.

        Args:
            tower, layer, projection, weight: see :meth:`adapted_weight`.
            x: [..., in].
            bias: [out] or None.

        Returns:
            [..., out].
        """
        return F.linear(x, self.adapted_weight(tower, layer, projection, weight), bias)

    def start_from(self, attentions: Mapping[Tower, Sequence[nn.MultiheadAttention]]) -> None:
        """Take what is needed of CLIP's weights, once, when the model is built; the default is nothing.

        Args:
            attentions: the attention modules of each tower, in the order of its blocks.
        """

    def refresh(self) -> None:
        """Compute again what is held between calls; the default holds nothing."""

    def release(self) -> None:
        """Drop what is held between calls; the default holds nothing."""
