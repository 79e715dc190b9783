"""IoU of clusters without names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmseg.registry import METRICS
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from hclip_mmseg.evaluation import OpenVocabIoUMetric


@METRICS.register_module()
class HungarianIoUMetric(OpenVocabIoUMetric):
    """IoU where every predicted cluster means at most one class, so that most pixels are right.

    The matching is made once, over the whole data set (the protocol of unsupervised segmentation since PiCIE).

    Args:
        clusters: how many labels predictions may have.
        kwargs: see ``OpenVocabIoUMetric``.
    """

    def __init__(self, clusters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.clusters = clusters

    def process(self, data_batch: dict[str, Any], data_samples: Sequence[dict[str, Any]]) -> None:
        """Counts for every sample how many pixels of each cluster are of each class."""
        classes = len(self.dataset_meta["classes"])
        for sample in data_samples:
            predicted = sample["pred_sem_seg"]["data"].flatten()
            labels = sample["gt_sem_seg"]["data"].flatten().to(predicted)
            valid = labels != self.ignore_index
            if (labels[valid] >= classes).any() or (predicted >= self.clusters).any():
                raise ValueError(
                    f"labels up to {int(labels[valid].max())} and clusters up to {int(predicted.max())} in "
                    f"{sample.get('seg_map_path', 'a label map')}; expected are {classes} classes and "
                    f"{self.clusters} clusters"
                )
            pairs = torch.bincount(predicted[valid] * classes + labels[valid], minlength=self.clusters * classes)
            self.results.append(pairs.view(self.clusters, classes).cpu())

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """The metrics of ``OpenVocabIoUMetric`` after the matching."""
        pairs = torch.stack(results).sum(dim=0)
        matched, of_class = linear_sum_assignment(pairs.numpy(), maximize=True)
        names = self.dataset_meta["classes"]
        meant = ", ".join(f"{cluster}: {names[label]}" for cluster, label in zip(matched, of_class, strict=True))
        print_log(f"classes that the clusters mean: {meant}", "current")
        intersection, predicted = torch.zeros(len(names)), torch.zeros(len(names))
        intersection[of_class] = pairs[matched, of_class].float()
        predicted[of_class] = pairs.sum(dim=1)[matched].float()
        labelled = pairs.sum(dim=0).float()
        return super().compute_metrics([(intersection, predicted + labelled - intersection, predicted, labelled)])
