"""How many class maps are aggregated at once, and which parts are computed again in the backward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from hclip_mmseg.models.device_memory import Auto

T = TypeVar("T")
ChunkSize = int | Auto | None
CHUNK_ON_CPU = 32
"""Class maps at once that were fastest on CPUs."""
SHARE = 0.6
"""Part of a GPU's free memory for what aggregation keeps; the rest is for gradients, the loss and temporary maps."""


class Chunks(NamedTuple):
    """How an aggregation is cut.

    Attributes:
        size: classes of each image at once; None for all.
        spatial_again, decoder_again: whether the backward pass computes that part again, chunk by chunk, so that
            what is inside it is kept for one chunk alone.
    """

    size: int | None
    spatial_again: bool = False
    decoder_again: bool = False


class MapBytes(NamedTuple):
    """Bytes of one class map of one image.

    Attributes:
        always: kept for the backward pass however an aggregation is cut.
        spatial: kept inside spatial aggregation.
        decoder: kept inside the decoder.
        forward: the most that is held at once without gradients.
    """

    always: int
    spatial: int
    decoder: int
    forward: int


def check_chunk(name: str, size: ChunkSize) -> None:
    """Check a number of class maps.

    Args:
        name: of the argument.
        size: its value.

    Raises:
        ValueError: if it is neither at least 1, nor 'auto', nor None.
    """
    if size is None or size == "auto" or (isinstance(size, int) and not isinstance(size, bool) and size >= 1):
        return
    raise ValueError(f"{name} is a number of class maps, at least 1, 'auto' or None for all at once, not {size!r}")


def fixed_chunks(size: int | None, batch: int, classes: int, gradients: bool) -> Chunks:
    """Chunks of a given number of class maps; with gradients, all parts are computed again where they are several.

    Args:
        size: class maps at once over the whole batch; None for all.
        batch, classes: images, and classes of each.
        gradients: whether there will be a backward pass.
    """
    if size is None:
        return Chunks(None)
    own = max(size // batch, 1)
    again = gradients and own < classes
    return Chunks(own, again, again)


def fitting_chunks(allowed: int, of_map: MapBytes, batch: int, classes: int, gradients: bool) -> Chunks:
    """The fewest chunks that fit, and the least work done twice.

    Nothing is computed again where everything fits. Else spatial aggregation is, which frees most memory for its
    arithmetic; where that is not enough, the decoder too. Of what is computed again no two chunks are there at once,
    and when spatial aggregation is, what the decoder kept is gone. No chunk is smaller than on a CPU.

    Args:
        allowed: bytes that may be taken.
        of_map: bytes of a class map.
        batch, classes: images, and classes of each.
        gradients: whether there will be a backward pass.
    """
    maps = batch * classes
    if not gradients:
        size = _fewest(allowed, of_map.forward, batch, classes)
        return Chunks(None if size >= classes else size)
    if allowed >= maps * (of_map.always + of_map.spatial + of_map.decoder):
        return Chunks(None)
    left = allowed - maps * of_map.always
    smallest = batch * min(classes, max(CHUNK_ON_CPU // batch, 1))
    if left >= max(maps * of_map.decoder, smallest * of_map.spatial):
        return Chunks(_fewest(left, of_map.spatial, batch, classes), spatial_again=True)
    return Chunks(_fewest(left, max(of_map.spatial, of_map.decoder), batch, classes), True, True)


def _fewest(allowed: int, of_map: int, batch: int, classes: int) -> int:
    """Classes of each image in the fewest chunks of like size."""
    most = max(allowed // (of_map * batch), CHUNK_ON_CPU // batch, 1)
    return math.ceil(classes / math.ceil(classes / most))


def cut(maps: Tensor, chunk: int | None, dim: int) -> Sequence[Tensor]:
    """Chunks of classes; all together for None, which leaves their number open in a recorded graph."""
    return [maps] if chunk is None else maps.split(chunk, dim=dim)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Chunks of classes, the second axis, together again."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)


def run(part: Callable[..., T], *arguments: Any) -> T:
    """What a part gives; autograd keeps what is inside it."""
    return part(*arguments)


def run_again_backward(part: Callable[..., T], *arguments: Any) -> T:
    """What a part gives; nothing but the arguments is kept until the backward pass, which computes it again."""
    result: T = checkpoint(part, *arguments, use_reentrant=False, preserve_rng_state=False)
    return result
