"""From classified masks to label maps, panoptic segments and instances."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mmdet.structures.mask import mask2bbox
from mmengine.structures import InstanceData
from torch import Tensor

from hclip_mmseg.models.score_maps import resized

PANOPTIC_OFFSET = 1000
"""MMDetection's: a panoptic id is the label plus this times the number of the instance."""

MAP_MEMORY = 2**25
"""Bytes that maps of an image's size take at once, beside the masks themselves."""


def without_padding(masks: Tensor, padded: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The part of mask logits that lies on the image.

    Args:
        masks: [Q, h, w] of the padded image.
        padded: height and width of the padded image.
        size: of the image in its upper left corner.

    Returns:
        [Q, *size].
    """
    return resized(masks, padded)[:, : size[0], : size[1]]


def rows_at_once(masks: Tensor, maps: int, memory: int) -> int:
    """Rows of masks [Q, H, W] of which ``maps`` maps take no more than so many bytes, at least 1."""
    return max(1, memory // (masks.element_size() * maps * masks.shape[-1]))


def in_bands(choose: Callable[[Tensor], Tensor], masks: Tensor, maps: int, memory: int) -> Tensor:
    """What is chosen for each pixel, band of rows by band of rows.

    Args:
        choose: masks [Q, h, W] -> integers [h, W].
        masks: [Q, H, W].
        maps: how many maps of the masks' size ``choose`` makes.
        memory: bytes that these take at once; one row is the least.

    Returns:
        int64 [H, W].
    """
    rows = rows_at_once(masks, maps, memory)
    # filled in place: small results kept between large intermediate ones would split freed memory up
    chosen = torch.empty(masks.shape[1:], dtype=torch.long, device=masks.device)
    for part, band in zip(chosen.split(rows), masks.split(rows, dim=1), strict=True):
        part.copy_(choose(band))
    return chosen


def semantic_labels(scores: Tensor, masks: Tensor, memory: int = MAP_MEMORY) -> Tensor:
    """The label of each pixel: argmax over names of sum_q score x mask probability.

    Args:
        scores: of each mask for each name, [Q, T].
        masks: mask probabilities [Q, H, W].
        memory: bytes that the names' maps take at once.

    Returns:
        int64 [H, W].
    """
    return semantic_best(scores, masks, memory)[0]


def semantic_best(scores: Tensor, masks: Tensor, memory: int = MAP_MEMORY) -> tuple[Tensor, Tensor]:
    """The label of each pixel and its score, [H, W] each; see :func:`semantic_labels`."""
    rows = rows_at_once(masks, scores.shape[1], memory)
    labels = torch.empty(masks.shape[1:], dtype=torch.long, device=masks.device)
    best = torch.empty(masks.shape[1:], dtype=masks.dtype, device=masks.device)
    for part, value, band in zip(labels.split(rows), best.split(rows), masks.split(rows, dim=1), strict=True):
        torch.max(semantic_scores(scores, band), dim=0, out=(value, part))
    return labels, best


def semantic_scores(scores: Tensor, masks: Tensor) -> Tensor:
    """sum_q score x mask probability of every name, [T, H, W]; see :func:`semantic_labels`."""
    return torch.einsum("qt,qhw->thw", scores, masks)


def panoptic_ids(
    scores: Tensor,
    masks: Tensor,
    things: Tensor,
    object_threshold: float = 0.8,
    overlap_threshold: float = 0.8,
    memory: int = MAP_MEMORY,
) -> Tensor:
    """Panoptic segments.

    Masks whose best name is not void and scores above the object threshold claim the pixels where score x mask
    probability is largest. A mask that keeps too little of itself is dropped; masks of the same stuff are one.

    Args:
        scores: [Q, T + 1], void last.
        masks: mask probabilities [Q, H, W].
        things: which names are things, bool [T].
        object_threshold: least score of a mask.
        overlap_threshold: least part of a mask's own area that it must keep.
        memory: bytes that the masks' claims take at once.

    Returns:
        int32 [H, W]: label + :data:`PANOPTIC_OFFSET` x number of the instance, from 1 over all things, always 1 for
        stuff (so that no segment's id is 0, which panoptic files keep for no segment); T where there is no segment.

    Raises:
        ValueError: if there are too many names for such ids.
    """
    names = len(things)
    if names >= PANOPTIC_OFFSET:
        raise ValueError(
            f"panoptic ids tell {PANOPTIC_OFFSET - 1} names apart, the vocabulary has {names}; "
            "ask for fewer names or for semantic results alone"
        )
    best, labels = scores.max(dim=-1)
    kept = ((labels != names) & (best > object_threshold)).nonzero()[:, 0]
    ids = torch.full(masks.shape[1:], names, dtype=torch.int32, device=masks.device)
    if not len(kept):
        return ids
    claims = best[kept, None, None]
    owner = in_bands(lambda band: (claims * band[kept]).argmax(dim=0), masks, 2 * len(kept), memory)
    instance = 0
    for number, (place, label) in enumerate(zip(kept.tolist(), labels[kept].tolist(), strict=True)):
        mine, whole = owner == number, masks[place] >= 0.5
        kept_area, area = int((mine & whole).sum()), int(whole.sum())
        if not kept_area or int(mine.sum()) < overlap_threshold * area:
            continue
        instance += bool(things[label])
        ids[mine & whole] = label + PANOPTIC_OFFSET * (instance if things[label] else 1)
    return ids


def instances(scores: Tensor, masks: Tensor, things: Tensor, most: int = 100) -> InstanceData:
    """The best pairs of a mask and a thing.

    Args:
        scores: of each mask for each name, [Q, T].
        masks: mask probabilities [Q, H, W].
        things: which names are things, bool [T].
        most: how many pairs.

    Returns:
        ``scores`` (times the mask's mean probability inside), ``labels``, ``masks`` (bool), ``bboxes``.
    """
    candidates = scores.masked_fill(~things, -1).flatten()
    values, pairs = candidates.topk(min(most, len(candidates)))
    pairs = pairs[values >= 0]
    inside = masks.new_empty((len(pairs), *masks.shape[1:]), dtype=torch.bool)
    certainty = masks.new_empty(len(pairs))
    for number, place in enumerate((pairs // len(things)).tolist()):
        own = masks[place]
        torch.gt(own, 0.5, out=inside[number])
        certainty[number] = (own * inside[number]).sum() / (inside[number].sum() + 1e-6)
    return InstanceData(
        scores=candidates[pairs] * certainty, labels=pairs % len(things), masks=inside, bboxes=mask2bbox(inside)
    )
