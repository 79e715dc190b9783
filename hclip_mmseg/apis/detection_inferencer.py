"""Finding things by name in pictures, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from numpy.typing import NDArray

from hclip_mmseg.apis.mmdet_inferencer import MMDetInferencer
from hclip_mmseg.clip import prompt_name
from hclip_mmseg.detection.visualizer import OpenVocabDetVisualizer
from hclip_mmseg.vocabularies import check_names, read_names


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found of the words in a picture.

    Attributes:
        source: the picture's path, or its place in the list for an array.
        image: RGB uint8, [H, W, 3].
        instances: ``bboxes`` [n, 4] (x1, y1, x2, y2) in pixels of the picture, ``scores`` [n] in 0..1,
            ``labels`` [n], indices of `vocabulary`.
        vocabulary: the words.
    """

    source: str
    image: NDArray[np.uint8]
    instances: InstanceData
    vocabulary: tuple[str, ...]

    def above(self, score: float) -> InstanceData:
        """The detections of at least that score."""
        return self.instances[self.instances.scores >= score]

    def overlay(self, score: float = 0.3) -> NDArray[np.uint8]:
        """The picture with the boxes of at least that score and their words; RGB uint8 [H, W, 3]."""
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
    """Finds any words in pictures, as boxes.

        inferencer = DetectionInferencer("configs/detection/hclip_vitb16_ov-coco.py", "epoch_3.pth")
        for result in inferencer(["park.jpg"], "cat, umbrella, traffic light"):
            print(result.source, result.best())

    Pictures are resized as the config resizes those that it tests on. Since a region's score for a word is its share
    among all names that are compared, the names of training are compared along with the words asked for; what is taken
    for one of them is left out.

    Args:
        config: path of a detector's config, or the config.
        checkpoint: its trained weights.
        device: 'cpu', 'cuda', 'cuda:1' ...; 'auto' is a GPU where there is one.

    Raises:
        FileNotFoundError, ValueError: see :func:`~hclip_mmseg.apis.build_model`; also without a checkpoint, since
            proposals have to be learnt.
    """

    def __init__(self, config: str | Path | Config, checkpoint: str | Path | None = None, device: str = "auto") -> None:
        super().__init__(config, checkpoint, device)
        self.asked = len(self.model.vocabulary)

    def set_vocabulary(self, names: str | Sequence[str], templates: str | Sequence[str] | None = None) -> None:
        """Replace the words; a string is a list with commas, a file, or a benchmark's (see `read_names`)."""
        names = read_names(names) if isinstance(names, str) else check_names(names)
        asked = {prompt_name(name) for name in names}
        others = sorted(self.model.roi_head.base_names - asked)
        self.model.set_vocabulary([*names, *others], templates)
        self.asked = len(names)

    def answer(self, source: str, image: NDArray[np.uint8]) -> Detections:
        """What is found in one picture, RGB uint8 [H, W, 3]; ``source`` is its path or place."""
        result = self.tested(image)
        found = result.pred_instances.cpu()
        words = tuple(result.metainfo["vocabulary"])[: self.asked]
        return Detections(source, image, found[found.labels < len(words)], words)
