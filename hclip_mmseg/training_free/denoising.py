"""Global patches taken out of the correlation."""

from __future__ import annotations

from torch import Tensor


def denoised_rows(features: Tensor, tile: int = 2048) -> Tensor:
    """What each patch is correlated with beyond what the whole image is (CLIPtrase, section 3.3).

    From every patch's row of the self-correlation the CLS token's row is subtracted, and negatives become 0. What
    stands high in the CLS token's row are the global patches, which all others follow whatever they show.

    Computed in place, ``tile`` rows at a time: besides the result no matrix of its size is held.

    Args:
        features: [1 + patches, width] of :func:`~.self_correlation.correlation_features`, the CLS token's first.
        tile: rows at once.

    Returns:
        [patches, patches], not negative.
    """
    patches = features[1:]
    rows = features.new_empty(len(patches), len(patches))
    of_cls = patches @ features[0]
    for start in range(0, len(patches), tile):
        part = rows[start : start + tile]
        part.addmm_(patches[start : start + tile], patches.T, beta=0).sub_(of_cls).clamp_(min=0)
    return rows


def raw_rows(features: Tensor) -> Tensor:
    """The patches' rows as they are: [1 + patches, width] -> [patches, patches]."""
    return features[1:] @ features[1:].T
