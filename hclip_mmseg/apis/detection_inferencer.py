"""Finding things by name in images, from Python."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from numpy.typing import NDArray

from hclip_mmseg.apis.mmdet_inferencer import MMDetInferencer
from hclip_mmseg.detection.visualizer import OpenVocabDetVisualizer
from hclip_mmseg.vocabularies import Vocabulary, as_vocabulary


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found of the class names in an image.

    Attributes:
        source: the image's path, or its place in the list for an array.
        image: RGB uint8, [H, W, 3].
        instances: ``bboxes`` [n, 4] (x1, y1, x2, y2) in pixels of the image, ``scores`` [n] in 0..1,
            ``labels`` [n], indices of `vocabulary`.
        vocabulary: the class names.
    """

    source: str
    image: NDArray[np.uint8]
    instances: InstanceData
    vocabulary: tuple[str, ...]

    def above(self, score: float) -> InstanceData:
        """The detections of at least that score."""
        return self.instances[self.instances.scores >= score]

    def overlay(self, score: float = 0.3) -> NDArray[np.uint8]:
        """The image with the boxes of at least that score and their words; RGB uint8 [H, W, 3]."""
        sample = DetDataSample(metainfo=dict(vocabulary=self.vocabulary), pred_instances=self.above(score))
        visualizer = OpenVocabDetVisualizer(score_threshold=score)
        visualizer.add_datasample("", self.image, sample, draw_gt=False)
        return visualizer.get_image()

    def best(self) -> dict[str, float]:
        """The words found, each with its highest score, the highest first."""
        order = self.instances.scores.argsort(descending=True)
        found: dict[str, float] = {}
        for label, score in zip(
            self.instances.labels[order].tolist(), self.instances.scores[order].tolist(), strict=True
        ):
            found.setdefault(self.vocabulary[label], score)
        return found


class DetectionInferencer(MMDetInferencer[Detections]):
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

    def compared(self, vocabulary: Vocabulary) -> Vocabulary:
        """The vocabulary, and behind it the names of training that it lacks."""
        asked = set(vocabulary.names)
        return as_vocabulary([*vocabulary.titles, *sorted(self.model.roi_head.base_names - asked)])

    def answer(self, source: str, image: NDArray[np.uint8]) -> Detections:
        """What is found in one image, RGB uint8 [H, W, 3]; ``source`` is its path or place."""
        result = self.tested(image)
        found = result.pred_instances.cpu()
        words = self.question.vocabulary.titles
        return Detections(source, image, inside(found[found.labels < len(words)], *image.shape[:2]), words)


def inside(found: InstanceData, height: int, width: int) -> InstanceData:
    """Detections cut to an image of height x width pixels, without those in the padding beside it."""
    limits = found.bboxes.new_tensor([width, height, width, height])
    found.bboxes = found.bboxes.clamp(min=0).minimum(limits)
    return found[(found.bboxes[:, 2:] > found.bboxes[:, :2]).all(dim=1)]
