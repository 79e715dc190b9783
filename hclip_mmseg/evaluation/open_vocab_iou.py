"""IoU with the classes that were seen in training and those that were not told apart."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmseg.evaluation.metrics import IoUMetric
from mmseg.registry import METRICS
from numpy.typing import NDArray
from prettytable import PrettyTable
from torch import Tensor

from hclip_mmseg.evaluation.areas import Areas, areas
from hclip_mmseg.evaluation.seen_names import seen_in_training
from hclip_mmseg.files.errors import InputError
from hclip_mmseg.vocabularies import Names, read_names
from hclip_mmseg.vocabularies.labels import check_labels

NO_CLASS = 65535  # above every label
IOU_METRICS = ("mIoU", "mDice", "mFscore")


@METRICS.register_module()
class OpenVocabIoUMetric(IoUMetric):
    """MMSegmentation's IoU, the frequency-weighted one, and the mean over seen and over unseen classes.

    As in MMSegmentation a class that neither labels nor predictions hold is left out of the mean IoU; one that is
    predicted but never labelled counts with 0. ``mIoU_labelled`` leaves that one out too, as detectron2's evaluator.
    mAcc is the mean over labelled classes, ``mAcc_all`` that over all classes, 0 for those that are never labelled.

    Where the dataset's metainfo has ``vocabulary`` and ``folds``, predictions of the former count as the classes that
    the latter says; so a background may be asked for by many names.

    Args:
        seen_classes: names that masks were shown for in training, as ``read_vocabulary`` takes them; see
            :func:`~hclip_mmseg.evaluation.seen_names.seen_in_training` for when a class counts as seen. None: all but
            those that the dataset's metainfo lists under 'held_out'; where it lists none, no such means are given.
        kwargs: see ``mmseg.evaluation.IoUMetric``.

    Raises:
        ValueError: if ``iou_metrics`` are not among mIoU, mDice and mFscore.

    Attributes:
        class_results: after an evaluation, for every class ``name``, ``seen`` (None where that is not known), ``IoU``
            and ``Acc`` in percent (None where nothing was to be found) and ``pixels``, how many its labels have.
    """

    def __init__(self, seen_classes: Names | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        unknown = {self.metrics} if isinstance(self.metrics, str) else set(self.metrics)
        unknown -= set(IOU_METRICS)
        if unknown:
            raise ValueError(f"iou_metrics knows {', '.join(IOU_METRICS)}, not {', '.join(sorted(unknown))}")
        self.seen_classes = None if seen_classes is None else read_names(seen_classes, repeats=True)
        self.class_results: list[dict[str, Any]] = []

    def process(self, data_batch: dict[str, Any], data_samples: Sequence[dict[str, Any]]) -> None:
        """Adds the samples of one batch.

        Raises:
            ValueError: if a label is outside the dataset's classes: which label, in which file; or if label maps of
                more than 8 bits are to be written to ``output_dir``.
        """
        classes = len(self.dataset_meta["classes"])
        if self.output_dir and classes > 255:
            raise ValueError(
                f"output_dir of the metric writes 8 bits, too few for {classes} classes; LabelMapHook writes 16, which "
                "tools/test.py --out DIR turns on"
            )
        data_samples = [self._folded(sample) for sample in data_samples]
        labelled = [sample for sample in data_samples if "gt_sem_seg" in sample]
        for sample in labelled:
            labels = sample["gt_sem_seg"]["data"]
            check_labels(labels, classes, sample, self.ignore_index)
            check_same_size(sample["pred_sem_seg"]["data"], labels, sample)
        super().process(data_batch, data_samples if self.format_only else labelled)

    @staticmethod
    def intersect_and_union(pred_label: Tensor, label: Tensor, num_classes: int, ignore_index: int) -> Areas:
        """See :func:`~hclip_mmseg.evaluation.areas.areas`, which takes MMSegmentation's arguments."""
        return areas(pred_label, label, num_classes, ignore_index)

    def _folded(self, sample: dict[str, Any]) -> dict[str, Any]:
        """The sample with its prediction in the dataset's classes, if its labels are those of the vocabulary."""
        folds, asked = self.dataset_meta.get("folds"), self.dataset_meta.get("vocabulary", ())
        if folds is None or tuple(sample.get("vocabulary", asked)) != tuple(asked):
            return sample
        labels = sample["pred_sem_seg"]["data"]
        table = torch.full((NO_CLASS + 1,), NO_CLASS, device=labels.device)
        table[: len(folds)] = torch.tensor(folds, device=labels.device)
        return {**sample, "pred_sem_seg": {"data": table[labels.long()]}}

    def evaluate(self, size: int) -> dict[str, float]:
        """See ``mmengine.evaluator.BaseMetric``. Counts come from a GPU here, so that no image waits for its own."""
        counted: list[Any] = self.results
        counted[:] = [Areas(*torch.stack(found).cpu()) if isinstance(found, Areas) else found for found in counted]
        metrics: dict[str, float] = super().evaluate(size)
        return metrics

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Metrics in percent.

        Returns:
            MMSegmentation's, ``mIoU_labelled``, ``mAcc_all``, ``fwIoU``; ``mIoU_seen`` and ``mIoU_unseen`` if there is
            a split.
        """
        if self.format_only:
            return super().compute_metrics(results)
        if not results:
            print_log("no label maps in this data set, so there is nothing to measure", "current")
            return {}
        total = [sum(area.double() for area in kind) for kind in zip(*results, strict=True)]
        found = self.total_area_to_metrics(*total, self.metrics, self.nan_to_num, self.beta)
        metrics = {"aAcc" if name == "aAcc" else f"m{name}": _mean(values) for name, values in found.items()}

        intersection, union, _, labelled = (area.numpy() for area in total)
        with np.errstate(invalid="ignore", divide="ignore"):
            iou, accuracy = intersection / union, intersection / labelled
        there = labelled > 0
        metrics["mIoU_labelled"] = _mean(iou[there])
        metrics["mAcc_all"] = _mean(np.where(there, accuracy, 0))
        metrics["fwIoU"] = round(float(100 * (iou[there] * labelled[there]).sum() / labelled.sum()), 2)
        seen = self._seen()
        if seen is not None:
            metrics["mIoU_seen"], metrics["mIoU_unseen"] = _mean(iou[seen]), _mean(iou[~seen])
        self.class_results = [
            dict(
                name=name,
                seen=None if seen is None else bool(seen[index]),
                IoU=_percent(iou[index]),
                Acc=_percent(accuracy[index]),
                pixels=int(labelled[index]),
            )
            for index, name in enumerate(self.dataset_meta["classes"])
        ]
        self._log_classes({name: values for name, values in found.items() if name != "aAcc"})
        absent = [name for name, count in zip(self.dataset_meta["classes"], labelled, strict=True) if not count]
        if absent:
            print_log(without_pixels(absent, len(labelled)), "current", logging.WARNING)
        return metrics

    def _seen(self) -> NDArray[np.bool_] | None:
        """bool [classes], or None where it is not known which were seen."""
        classes = self.dataset_meta["classes"]
        if self.seen_classes is not None:
            return self._seen_by_name(self.seen_classes)
        held_out = list(self.dataset_meta.get("held_out", ()))
        return ~np.isin(classes, held_out) if held_out else None

    def _seen_by_name(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """bool [classes]: by a class's own name or one of those that are asked for it."""
        classes = self.dataset_meta["classes"]
        asked = self.dataset_meta.get("vocabulary", classes)
        seen = seen_in_training(classes, names)
        of_asked = seen_in_training(asked, names)
        seen[np.array(self.dataset_meta.get("folds", range(len(asked))))[of_asked]] = True
        return seen

    def _log_classes(self, values: dict[str, NDArray[np.floating]]) -> None:
        table = PrettyTable()
        table.add_column("Class", [result["name"] for result in self.class_results])
        if any(result["seen"] is not None for result in self.class_results):
            table.add_column("Seen", ["yes" if result["seen"] else "no" for result in self.class_results])
        for name, of_classes in values.items():
            table.add_column(name, list(np.round(100 * of_classes, 2)))
        print_log(f"per class results:\n{table.get_string()}", "current")


def check_same_size(predicted: Tensor, labels: Tensor, meta: Mapping[str, Any]) -> None:
    """Check that a label map has its image's size.

    Raises:
        ValueError: with both files and sizes.
    """
    own, other = labels.shape[-2:], predicted.shape[-2:]
    if own != other:
        raise InputError(
            f"the label map {meta.get('seg_map_path')} is {own[1]} x {own[0]} pixels, the result of its image "
            f"{meta.get('img_path')} {other[1]} x {other[0]}: label map and image must have one size"
        )


def without_pixels(absent: Sequence[str], classes: int) -> str:
    """What is said of classes that no label map has a pixel of.

    Args:
        absent: their names, at least one.
        classes: how many classes there are in all.
    """
    listed = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
    said = f"{len(absent)} of {classes} classes have no pixel in any label map: {listed}"
    if classes - len(absent) > 1:
        return said
    return (
        f"{said}. So these figures say little. Masks drawn as 0 and 255 are a likely cause, since 255 is ignored: save "
        "them as 0 and 1"
    )


def _mean(values: NDArray[np.floating]) -> float:
    """The mean of what is a number, in percent; not a number where nothing is."""
    known = np.atleast_1d(values)
    known = known[~np.isnan(known)]
    return round(float(100 * known.mean()), 2) if len(known) else float("nan")


def _percent(value: float) -> float | None:
    return None if np.isnan(value) else round(float(100 * value), 2)
