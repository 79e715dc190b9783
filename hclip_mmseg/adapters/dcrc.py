"""DCRC alone: relations trained between adapters that are not."""

from __future__ import annotations

from typing import Any

from hclip_mmseg.adapters.pop import POP


class DCRC(POP):
    """POP whose tensor T stays where it starts, so that only the relation is trained.

    The H-CLIP paper's table has a row for DCRC without POP and does not say what is related then. It prints
    0.01 M parameters, which is what the relations hold, so T, with 7.9 M, is not trained; its start is the
    one value of T that the paper names. What a relation can do from there: the image tower's blocks, which
    start as I, become multiples of I, one factor a block, learned through the relation; the text tower's
    start at X = 0, and no mixture of zeros and identities has a skew part, so they remain I.

    Args:
        arguments: see :class:`~hclip_mmseg.adapters.pop.POP`.

    Raises:
        ValueError: as POP, and without a relation.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        if self.relation is None:
            raise ValueError("DCRC trains the relation alone, so it needs one; relation is None")
        self.tensor.requires_grad_(False)
