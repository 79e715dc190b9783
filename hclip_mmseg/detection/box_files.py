"""Detections as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from hclip_mmseg.files.writing import write_whole
from hclip_mmseg.visualization.result_files import ResultFilesHook


def write_boxes(path: str | Path, instances: InstanceData, names: Sequence[str]) -> None:
    """Write detections as a JSON list, the highest scores first.

    Args:
        path: the file; its folder is made if absent.
        instances: ``bboxes`` [n, 4] in pixels of the image, ``scores`` [n], ``labels`` [n].
        names: what labels stand for.
    """
    order = instances.scores.argsort(descending=True)
    found = [
        dict(word=names[label], score=round(score, 4), box=[round(side, 1) for side in box])
        for label, score, box in zip(
            instances.labels[order].tolist(),
            instances.scores[order].tolist(),
            instances.bboxes[order].tolist(),
            strict=True,
        )
    ]
    write_whole(path, json.dumps(found, indent=1, ensure_ascii=False) + "\n")


@HOOKS.register_module()
class BoxFileHook(ResultFilesHook):
    """Writes the detections of every tested image to ``<folder>/<image's name>.json``; see `ResultFilesHook`."""

    ending = ".json"

    def write(self, path: Path, sample: DetDataSample, dataset: Any) -> None:
        """Write the detections of a sample."""
        write_boxes(path, sample.pred_instances, sample.metainfo["vocabulary"])
