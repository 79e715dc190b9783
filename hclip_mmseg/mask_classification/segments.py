"""The segments of a model's panoptic ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hclip_mmseg.mask_classification.inference import PANOPTIC_OFFSET
from hclip_mmseg.results import Segment


def list_segments(
    ids: NDArray[np.int32], vocabulary: Sequence[str], things: Sequence[bool]
) -> tuple[NDArray[np.int32], tuple[Segment, ...]]:
    """Segments of a model's panoptic ids; see :func:`~hclip_mmseg.mask_classification.inference.panoptic_ids`.

    Returns:
        ids with 0 where there is no segment, and the segments, the largest first.
    """
    ids = np.where(ids % PANOPTIC_OFFSET == len(vocabulary), 0, ids).astype(np.int32)
    found, counts = np.unique(ids[ids > 0], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    labels = found % PANOPTIC_OFFSET
    numbers: dict[int, int] = {}
    segments = []
    for place in order.tolist():
        label = int(labels[place])
        title = name = vocabulary[label].split(",")[0]
        if (labels == label).sum() > 1:
            numbers[label] = numbers.get(label, 0) + 1
            title = f"{name} {numbers[label]}"
        share = float(counts[place]) / ids.size
        segments.append(Segment(int(found[place]), label, bool(things[label]), title, share))
    return ids, tuple(segments)
