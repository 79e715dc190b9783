"""IoU with the classes that were seen in training and those that were not told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmseg.evaluation.metrics import IoUMetric
from mmseg.registry import METRICS

from hclip_mmseg.datasets.labels import label_outside


@METRICS.register_module()
class OpenVocabIoUMetric(IoUMetric):
    """MMSegmentation's IoU, and besides the mean over seen and over unseen classes.

    Args:
        seen_classes: names that masks were shown for in training. None: all but those that the dataset's
            metainfo lists under 'held_out'; where it lists none, no such means are given.
        kwargs: see ``mmseg.evaluation.IoUMetric``.
    """

    def __init__(self, seen_classes: Sequence[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seen_classes = None if seen_classes is None else frozenset(seen_classes)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Adds the samples of one batch.

        Raises:
            ValueError: if a label is outside the dataset's classes: which label, in which file.
        """
        classes = len(self.dataset_meta["classes"])
        for sample in data_samples:
            if "gt_sem_seg" not in sample:
                continue
            label = label_outside(sample["gt_sem_seg"]["data"], classes, self.ignore_index)
            if label is not None:
                raise ValueError(
                    f"label {label} in {sample.get('seg_map_path', 'a label map')} is outside the "
                    f"dataset's {classes} classes (0 to {classes - 1}; {self.ignore_index} is ignored): the label "
                    "maps were prepared for other classes"
                )
        super().process(data_batch, data_samples)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """MMSegmentation's metrics in percent, and mIoU_seen, mIoU_unseen where the split is known."""
        metrics = super().compute_metrics(results)
        unseen = self._unseen()
        if self.format_only or not unseen.any():
            return metrics
        intersection, union = (np.sum([area[i].numpy() for area in results], axis=0) for i in (0, 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            iou = 100 * intersection / union
        for name, chosen in (("mIoU_seen", ~unseen), ("mIoU_unseen", unseen)):
            known = iou[chosen & (union > 0)]
            metrics[name] = round(float(known.mean()), 2) if len(known) else float("nan")
        return metrics

    def _unseen(self) -> np.ndarray:
        """bool [classes]."""
        classes = self.dataset_meta["classes"]
        if self.seen_classes is not None:
            return np.array([name not in self.seen_classes for name in classes])
        return np.isin(classes, list(self.dataset_meta.get("held_out", ())))
