"""Finding things by name in images, from Python."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from numpy.typing import NDArray

from hclip_mmseg.apis.mmdet_inferencer import MMDetInferencer
from hclip_mmseg.results import Boxes, Result
from hclip_mmseg.vocabularies import Vocabulary


class DetectionInferencer(MMDetInferencer):
    """Finds things of any class names in images, as boxes.

        inferencer = DetectionInferencer("configs/detection/hclip_vitb16_ov-coco.py", "epoch_3.pth")
        for result in inferencer(["park.jpg"], "cat, umbrella, traffic light"):
            print(result.source, result.best())

    Images are resized as the config resizes those that it tests on. Since a region's score for a word is its share
    among all names that are compared, the names of training are compared along with the words asked for; what is taken
    for one of them is left out.

    Args:
        config: path of a detector's config, the config, or a name that ``hclip-models`` lists.
        checkpoint: its trained weights; None: of a name, what is published.
        device: 'cpu', 'cuda', 'cuda:1' ...; 'auto' is a GPU where there is one.

    Raises:
        FileNotFoundError, ValueError: see :func:`~hclip_mmseg.apis.build_model`; also without a checkpoint, since
            proposals have to be learnt.
    """

    without = {
        "other": "what no box holds is left out",
        "merge": "boxes are of one name each",
    }

    def competitors(self, vocabulary: Vocabulary) -> Sequence[str]:
        """The names of training that the vocabulary lacks."""
        competitors: list[str] = self.model.roi_head.competitors(vocabulary.names)
        return competitors

    def result(self, source: str, image: NDArray[np.uint8], sample: DetDataSample) -> Result:
        """The boxes in an image; see ``MMDetInferencer``."""
        found = sample.pred_instances.cpu()
        return self.question.detected(source, image, boxes_of(found, *image.shape[:2]))


def boxes_of(found: InstanceData, height: int, width: int) -> Boxes:
    """Detections cut to an image of height x width pixels, without those in the padding beside it."""
    limits = found.bboxes.new_tensor([width, height, width, height])
    corners = found.bboxes.clamp(min=0).minimum(limits)
    boxes = Boxes(corners.float().numpy(), found.scores.float().numpy(), found.labels.numpy())
    kept = (corners[:, 2:] > corners[:, :2]).all(dim=1)
    order = found.scores.argsort(descending=True, stable=True)
    return boxes[order[kept[order]].numpy()]
