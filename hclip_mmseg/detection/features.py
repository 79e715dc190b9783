"""What the region head is given."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor


class PyramidFeatures(tuple[Tensor, ...]):
    """An FPN's maps, finest first, and beside them what regions are compared with.

    MMDetection hands an FPN's maps from part to part as one tuple; as this is one, its parts work on it unchanged.

    Attributes:
        dense: the image tower's projected dense tokens as a map [B, C, h, w].
        text: unit text embeddings [T, C].
    """

    dense: Tensor
    text: Tensor

    def __new__(cls, maps: Iterable[Tensor], dense: Tensor, text: Tensor) -> PyramidFeatures:
        """The tuple of ``maps`` with ``dense`` and ``text``."""
        features = super().__new__(cls, maps)
        features.dense, features.text = dense, text
        return features
