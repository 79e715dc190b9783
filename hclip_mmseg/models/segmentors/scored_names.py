"""The names that a training step scores, and labels as places among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.dist import all_reduce
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor


def sample_names(labels: Tensor, names: int, count: int, ignore_index: int) -> Tensor:
    """Names that a training step scores: all that the labels hold, and others at random.

    The draw depends on the labels alone, so that a resumed run repeats it, and on those of all processes, so that
    several draw what one would from the same global batch.

    Args:
        labels: label maps of this process's part of the batch, any shape.
        names: size of the vocabulary.
        count: how many names; more where the labels hold more.
        ignore_index: label that stands for no name.

    Returns:
        Ascending indices of the names.
    """
    pixels = torch.bincount(labels.flatten(), minlength=max(names, ignore_index + 1))
    all_reduce(pixels)
    pixels = pixels.cpu()
    generator = torch.Generator().manual_seed(int((pixels * torch.arange(len(pixels))).sum()))
    pixels[ignore_index] = 0
    present = pixels.nonzero().flatten()
    others = torch.randperm(names, generator=generator)
    others = others[~torch.isin(others, present)][: max(count - len(present), 0)]
    return torch.cat([present, others]).sort().values.to(labels.device)


@dataclass(frozen=True)
class ScoredGroup:
    """Samples of a batch that are scored on the same names.

    Attributes:
        rows: their places in the batch.
        names: ascending indices of the names in the vocabulary.
    """

    rows: list[int]
    names: Tensor


def scored_groups(
    samples: Sequence[SegDataSample], names: int, count: int | None, ignore_index: int
) -> list[ScoredGroup] | None:
    """The samples of a batch by the names that they are scored on; None: all of them on the whole vocabulary.

    Args:
        samples: with label maps of one size; ``asked`` in their meta information are the indices of their own data
            set's names, where it has not all of the vocabulary.
        names: size of the vocabulary.
        count: how many names a step scores, see :func:`sample_names`; None: all. Of those drawn a sample is scored on
            its own.
        ignore_index: label that stands for no name.
    """
    labels = [sample.gt_sem_seg.data for sample in samples]
    rows: dict[tuple[int, ...] | None, list[int]] = {}
    for row, sample in enumerate(samples):
        rows.setdefault(sample.metainfo.get("asked"), []).append(row)
    drawn = None
    if count is not None and count < names:
        drawn = sample_names(torch.stack(labels), names, count, ignore_index)
    if drawn is None and set(rows) == {None}:
        return None
    every = torch.arange(names, device=labels[0].device) if drawn is None else drawn
    groups = []
    for asked, members in rows.items():
        if asked is None:
            groups.append(ScoredGroup(members, every))
            continue
        own = torch.tensor(sorted(set(asked)), device=every.device)
        scored = own[torch.isin(own, every)]
        groups.append(ScoredGroup(members, scored if len(scored) else own[:1]))
    return groups


def relabelled(
    samples: Sequence[SegDataSample], names: Tensor, vocabulary: int, ignore_index: int
) -> list[SegDataSample]:
    """Copies of samples, whose labels are places among the names that are scored.

    Args:
        samples: whose labels are indices of the vocabulary.
        names: ascending indices of the names that are scored; labels of others become ``ignore_index``.
        vocabulary: its size.
        ignore_index: label that stands for no name.
    """
    table = torch.full((max(ignore_index, vocabulary) + 1,), ignore_index, device=names.device)
    table[names] = torch.arange(len(names), device=names.device)
    return [
        SegDataSample(metainfo=sample.metainfo, gt_sem_seg=PixelData(data=table[sample.gt_sem_seg.data]))
        for sample in samples
    ]
