"""VPT: prompts among the tokens of every block."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from hclip_mmseg.adapters.base import Adapter, BlockOperation, Numbers, Tower, tower_sizes


class VPT(Adapter):
    """Trained tokens that go into each block beside the others (Jia et al., "Visual Prompt Tuning", 2022, VPT-Deep:
    Section 3.2, Eq. 5).

    What a block makes of its prompts is dropped before the next, which has prompts of its own. So nothing
    is computed of a prompt but the key and the value that the other tokens attend to, once for the whole
    batch: the same numbers as with the prompts in every sequence, for less work. In the causal text tower
    they stand before the first token, where all others see them.

    The prompts start uniform in +-sqrt(6 / (2 width)), the published bound where a patch has as many numbers
    as a token. Training does not start as plain CLIP, as it does not in that paper. Prompts are no change
    of weights and stay in inference.

    Args:
        length: prompts a block, in each tower. The H-CLIP paper names neither the length nor the towers; 150 in
            both of ViT-B/16 is 2,304,000 numbers, the 2.2 M of its row.
        sizes: see :func:`~hclip_mmseg.adapters.base.tower_sizes`.

    Attributes:
        tokens: tower -> [layers, length, width].

    Raises:
        ValueError: on a length below 1.
    """

    foldable = False
    takes_rounded = True

    def __init__(self, *, length: int = 150, **sizes: Any) -> None:
        super().__init__()
        if length < 1:
            raise ValueError(f"VPT needs at least 1 prompt a block, not {length}")
        self.tokens = nn.ParameterDict(
            {
                tower: nn.Parameter(
                    torch.empty(size.layers, length, size.width).uniform_(-1, 1) * math.sqrt(3 / size.width)
                )
                for tower, size in tower_sizes(**sizes).items()
            }
        )

    def prompts(self, tower: Tower, layer: int) -> Tensor | None:
        """See :class:`~hclip_mmseg.adapters.base.Adapter`."""
        if tower not in self.tokens:
            return None
        tokens: Tensor = self.tokens[tower]
        return tokens[layer]

    def parameters_at(self, at: BlockOperation) -> list[Numbers]:
        """The prompts of a block."""
        if at.operation != "prompts" or at.tower not in self.tokens:
            return []
        return [Numbers(f"tokens.{at.tower}", (at.layer,))]
