"""AP50 of base and of novel names apart."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.console import Console
from rich.table import Table

GROUPS = ("novel", "base", "all")


def ap50_by_class(
    truth: Sequence[Mapping[str, NDArray[Any]]], found: Sequence[Mapping[str, NDArray[Any]]], classes: int
) -> NDArray[np.float64]:
    """COCO's average precision at an IoU of 0.5, at most 100 detections an image.

    Args:
        truth: of each image ``bboxes`` [n, 4] (x1, y1, x2, y2), ``labels`` [n] and ``crowd`` [n]; a crowd's box takes
            any number of detections and asks for none.
        found: of each image ``bboxes``, ``labels`` and ``scores`` [n].
        classes: number of classes.

    Returns:
        [classes] in percent, not a number for classes without a box in ``truth``.
    """
    boxes: list[dict[str, Any]] = [
        dict(id=0, image_id=image, category_id=int(label), bbox=_xywh(box), area=_area(box), iscrowd=int(crowd))
        for image, one in enumerate(truth)
        for box, label, crowd in zip(one["bboxes"], one["labels"], one["crowd"], strict=True)
    ]
    detections = [
        dict(image_id=image, category_id=int(label), bbox=_xywh(box), score=float(score))
        for image, one in enumerate(found)
        for box, label, score in zip(one["bboxes"], one["labels"], one["scores"], strict=True)
    ]
    if not boxes or not detections:
        ap = np.full(classes, np.nan)
        ap[[box["category_id"] for box in boxes if not box["iscrowd"]]] = 0.0
        return ap
    for number, box in enumerate(boxes, start=1):
        box["id"] = number
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        coco = COCO()
        coco.dataset = dict(
            images=[dict(id=image) for image in range(len(truth))],
            categories=[dict(id=label) for label in range(classes)],
            annotations=boxes,
        )
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(detections), "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.maxDets = [100]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, 0]  # [recalls, classes], -1 for classes without a box
    return np.where(precision[0] < 0, np.nan, 100 * precision.mean(axis=0))


def _xywh(box: NDArray[Any]) -> list[float]:
    x1, y1, x2, y2 = map(float, box)
    return [x1, y1, x2 - x1, y2 - y1]


def _area(box: NDArray[Any]) -> float:
    _, _, width, height = _xywh(box)
    return width * height


@METRICS.register_module()
class OpenVocabAP50(BaseMetric):
    """COCO's AP at an IoU of 0.5, averaged over novel names, over base names and over all, in percent.

    Base are the names that the model says boxes were shown for in training (its samples' metainfo ``base_names``, from
    ``model.roi_head.base_names``), novel all others. Where a model does not say, novel are those that the data set's
    metainfo lists under ``held_out``. A line below the results says which of the two it was. Averaged are the data
    set's classes; of a vocabulary that is longer, detections of further names are left out. Boxes of the truth come
    from each sample's ``instances`` (metainfo, in the original image), so that no annotation file is read again. The
    results go to the log as one row.

    Args:
        paper: AP50 that a paper prints for this model, ``dict(novel=..., base=...)``; shown beside the results as the
            paper's.
        kwargs: of MMEngine's ``BaseMetric``.
    """

    def __init__(self, paper: Mapping[str, float] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        printed = dict(paper or {})
        self.paper = {group: printed[group] for group in GROUPS if group in printed}
        self.base_names: tuple[str, ...] | None = None
        unknown = set(printed) - set(GROUPS)
        if unknown:
            raise ValueError(f"the paper's AP50 is of {', '.join(GROUPS)}, not of {', '.join(sorted(unknown))}")

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keeps truth and detections of a batch."""
        for sample in data_samples:
            if "instances" not in sample:
                raise ValueError(
                    "a sample does not carry its boxes: add 'instances' to the meta_keys of PackDetInputs in the "
                    "pipeline that is evaluated"
                )
            self.base_names = sample.get("base_names", self.base_names)
            instances, predicted = sample["instances"], sample["pred_instances"]
            truth = dict(
                bboxes=np.array([instance["bbox"] for instance in instances], float).reshape(-1, 4),
                labels=np.array([instance["bbox_label"] for instance in instances], int),
                crowd=np.array([instance["ignore_flag"] for instance in instances], int),
            )
            found = {key: predicted[key].cpu().numpy() for key in ("bboxes", "labels", "scores")}
            self.results.append((truth, found))

    def compute_metrics(self, results: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, float]:
        """AP50_novel, AP50_base and AP50_all; without novel names AP50_all alone."""
        truth, found = ([result[part] for result in results] for part in (0, 1))
        classes = self.dataset_meta["classes"]
        ap = ap50_by_class(truth, found, len(classes))
        novel, told_by = self._novel(classes)
        chosen = dict(novel=novel, base=~novel, all=np.ones(len(classes), bool))
        groups = [group for group in GROUPS if group == "all" or (novel.any() and chosen[group].any())]
        metrics = {f"AP50_{group}": round(_mean(ap[chosen[group]]), 2) for group in groups}
        split = f"{novel.sum()} novel and {(~novel).sum()} base names by {told_by}"
        print_log(f"\n{self.table(metrics)}{split}", logger="current")
        return metrics

    def _novel(self, classes: Sequence[str]) -> tuple[NDArray[np.bool_], str]:
        """Which classes are novel, and what says so."""
        if self.base_names is not None:
            return ~np.isin(classes, self.base_names), "model.roi_head.base_names"
        return np.isin(classes, list(self.dataset_meta.get("held_out", ()))), "the data set's held_out"

    def table(self, metrics: Mapping[str, float]) -> str:
        """The results in one row, behind them what the paper prints."""
        table = Table(title="AP50, percent")
        for name in metrics:
            table.add_column(name.removeprefix("AP50_"))
        for group in self.paper:
            table.add_column(f"{group}, printed in the paper")
        table.add_row(*(f"{value:.1f}" for value in (*metrics.values(), *self.paper.values())))
        text = io.StringIO()
        Console(file=text, width=120).print(table)
        return text.getvalue()


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
