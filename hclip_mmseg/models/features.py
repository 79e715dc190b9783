"""What backbone and heads hand on: flat tuples of tensors, as MMSegmentation's heads take them, with named parts."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


class DenseFeatures(tuple[Tensor, ...]):
    """What a backbone makes of a batch of images: (guidance maps ..., block maps ..., dense tokens).

    A head of MMSegmentation picks its inputs by their index, a neck of MMDetection takes the first ones; dense tokens
    are always the last.

    Attributes:
        guidance: maps for the decoder from coarse to fine, [B, channels, 2 h, 2 w] and [B, channels, 4 h, 4 w]; or ().
        blocks: outputs of inner blocks, [B, width, h, w] each; or ().
        dense: projected dense tokens [B, embed_dim, h, w], for h x w patches.
    """

    guidance: tuple[Tensor, ...]
    blocks: tuple[Tensor, ...]
    dense: Tensor

    def __new__(cls, dense: Tensor, guidance: Sequence[Tensor] = (), blocks: Sequence[Tensor] = ()) -> DenseFeatures:
        """The tuple of all maps."""
        features = super().__new__(cls, (*guidance, *blocks, dense))
        features.dense, features.guidance, features.blocks = dense, tuple(guidance), tuple(blocks)
        return features


class HeadInputs(tuple[Tensor, ...]):
    """What an open-vocabulary head compares: (dense tokens, guidance maps ..., text embeddings).

    Attributes:
        dense: dense tokens [B, C, h, w].
        guidance: maps for the decoder from coarse to fine; or ().
        text: unit text embeddings [T, P, C] of T names in P templates.
    """

    dense: Tensor
    guidance: tuple[Tensor, ...]
    text: Tensor

    def __new__(cls, dense: Tensor, guidance: Sequence[Tensor], text: Tensor) -> HeadInputs:
        """The tuple of all tensors."""
        inputs = super().__new__(cls, (dense, *guidance, text))
        inputs.dense, inputs.guidance, inputs.text = dense, tuple(guidance), text
        return inputs

    @classmethod
    def of(cls, inputs: Sequence[Tensor]) -> HeadInputs:
        """The same for a plain tuple in that order."""
        if isinstance(inputs, HeadInputs):
            return inputs
        dense, *guidance, text = inputs
        return cls(dense, guidance, text)
