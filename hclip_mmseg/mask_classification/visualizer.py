"""The visualizer of mask classifiers: segments instead of a label map."""

from __future__ import annotations

import numpy as np
from mmdet.structures import DetDataSample
from mmengine.structures import PixelData
from mmseg.registry import VISUALIZERS
from numpy.typing import NDArray

from hclip_mmseg.mask_classification.segments import list_segments
from hclip_mmseg.results import Result
from hclip_mmseg.visualization import OpenVocabVisualizer, draw_overlay
from hclip_mmseg.visualization.visualizer import as_array


@VISUALIZERS.register_module()
class OpenVocabPanopticVisualizer(OpenVocabVisualizer):
    """Draws labels as they are annotated beside the segments that were found, or the label map where none are asked."""

    def drawings(
        self, image: NDArray[np.uint8], sample: DetDataSample, draw_gt: bool, draw_pred: bool, legend: bool
    ) -> list[NDArray[np.uint8]]:
        """See ``OpenVocabVisualizer``."""
        words, found = tuple(sample.metainfo.get("vocabulary", ())), []
        if draw_gt and "gt_sem_seg" in sample:
            truth = self.dataset_meta.get("vocabulary") or self.dataset_meta.get("classes") or words
            titled = dict(alpha=self.alpha, legend=legend, title="ground truth")
            found.append(draw_overlay(image, _labels_of(sample.gt_sem_seg), truth, **titled))
        if draw_pred and "pred_panoptic_seg" in sample:
            things = [word in sample.metainfo["things"] for word in words]
            ids, segments = list_segments(as_array(sample.pred_panoptic_seg.sem_seg[0]), words, things)
            result = Result("", image, words, ids=ids, segments=segments)
            found.append(result.overlay(alpha=self.alpha, legend=legend))
        elif draw_pred and "pred_sem_seg" in sample:
            labels = _labels_of(sample.pred_sem_seg)
            found.append(draw_overlay(image, labels, words, alpha=self.alpha, legend=legend, title="prediction"))
        return found


def _labels_of(pixels: PixelData) -> NDArray[np.int64]:
    """MMSegmentation keeps labels as ``data``, MMDetection as ``sem_seg``."""
    labels = pixels.data if "data" in pixels else pixels.sem_seg
    return as_array(labels[0]).astype(np.int64)
