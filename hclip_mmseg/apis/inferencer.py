"""Segmenting images into given words, from Python."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from numpy.typing import NDArray
from torch import nn

from hclip_mmseg.apis import checks
from hclip_mmseg.apis.image_inferencer import ImageInferencer
from hclip_mmseg.apis.opening import open_model
from hclip_mmseg.apis.weights import read_weights
from hclip_mmseg.datasets.published_resize import published_resize_steps
from hclip_mmseg.models.frozen import frozen_clip_config
from hclip_mmseg.visualization import class_shares, draw_overlay


@dataclass(frozen=True, eq=False)
class Segmentation:
    """An image in the words it was asked for.

    Attributes:
        source: the image's path, or its place in the list for an array.
        image: RGB uint8, [H, W, 3].
        labels: [H, W], indices of `vocabulary`; 255, or 65535 of more than 255 words, where the model leaves a
            pixel out (`score_threshold`).
        vocabulary: the words.
        scores: [T, H, W] in 0..1 if asked for, else None.
    """

    source: str
    image: NDArray[np.uint8]
    labels: NDArray[np.int64]
    vocabulary: tuple[str, ...]
    scores: NDArray[np.float32] | None = None

    def overlay(self, *, alpha: float = 0.55, legend: bool = True) -> NDArray[np.uint8]:
        """The image with its regions coloured, and a legend of the words; RGB uint8."""
        return draw_overlay(self.image, self.labels, self.vocabulary, alpha=alpha, legend=legend)

    def shares(self) -> dict[str, float]:
        """The words found and the share of the image each takes, 0..1, the largest first."""
        return {self.vocabulary[index]: share for index, share in class_shares(self.labels, self.vocabulary)}


def build_model(config: str | Path | Config, checkpoint: str | Path | None = None) -> nn.Module:
    """An open-vocabulary model, ready for inference on the CPU.

    Args:
        config: path of a config, the config, or a name that ``hclip-models`` lists.
        checkpoint: of this config's model, a published one too. None: of a name, what is published; else CLIP alone,
            frozen, since a head without training says nothing; the words are then compared with CLIP's dense tokens.
            Only for segmentors.

    Raises:
        FileNotFoundError, ValueError: if config, CLIP's weights or checkpoint are missing, broken, or do not
            belong together.
    """
    config, checkpoint, _ = open_model(config, checkpoint)
    config = copy.deepcopy(config)  # what is changed in it here is not the caller's
    if checkpoint is not None:
        checks.take_clip_from_checkpoint(config)
    checks.check_run(config, splits=())
    if checkpoint is None:
        config.model = Config(frozen_clip_config(config.model.to_dict()))
    init_default_scope(config.get("default_scope", "mmseg"))
    model = MODELS.build(config.model)
    if checkpoint is not None:
        weights = read_weights(checkpoint)
        weights.check(model)
        model.load_state_dict(weights.state)
    return model.eval()


class OpenVocabInferencer(ImageInferencer[Segmentation]):
    """Segments images into any words; ``scores=True`` in a call gives the scores of all words too.

        inferencer = OpenVocabInferencer("configs/hclip/hclip_vitb16_coco-stuff.py", "iter_80000.pth")
        for result in inferencer(["park.jpg"], "cat, grass, traffic light"):
            print(result.source, result.shares())

    By a name that ``hclip-models`` lists, published weights are fetched, converted and kept:
    ``OpenVocabInferencer("cat-seg_vitl14")``.

    Args:
        config: path of a config, the config, or a name.
        checkpoint: its trained weights; None is what is published under a name, else plain CLIP; see `build_model`.
        device: 'cpu', 'cuda', 'cuda:1' ...; 'auto' is a GPU where there is one.
        resize: 'published' resizes images by the config's ``PublishedResize`` before the model looks at them, as in
            the evaluations of the papers; 'direct' gives the model the image itself, which resamples once less.

    Raises:
        FileNotFoundError, ValueError: see `build_model`; also for another ``resize``.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path | None = None,
        device: str = "auto",
        resize: str = "published",
    ) -> None:
        config, checkpoint, _ = open_model(config, checkpoint)
        self.resize_steps = published_resize_steps(config, resize)
        super().__init__(build_model(config, checkpoint), device)

    def answer(self, source: str, image: NDArray[np.uint8], *, scores: bool = False) -> Segmentation:
        """Segment one image, RGB uint8 [H, W, 3].

        Args:
            source: the image's path or place.
            image: the image.
            scores: whether to give the scores of all words too.

        Raises:
            ValueError: if the scores take more memory than the model's configuration allows.
        """
        resized = image
        for step in self.resize_steps:
            resized = step.transform(dict(img=resized, img_path=source))["img"]
        bgr = torch.from_numpy(np.ascontiguousarray(resized[..., ::-1].transpose(2, 0, 1)))
        shape = dict(ori_shape=image.shape[:2], img_shape=resized.shape[:2])
        sample = SegDataSample(metainfo=dict(img_path=source, keep_scores=scores, **shape))
        with torch.no_grad():
            result = self.model.test_step(dict(inputs=[bgr], data_samples=[sample]))[0]
        maps = None
        if scores:
            if "seg_logits" not in result:
                raise ValueError(
                    f"the scores of {len(self.model.vocabulary)} words for {source} take more memory than "
                    "test_cfg.score_memory allows; raise it, or ask for fewer words"
                )
            maps = result.seg_logits.data.cpu().numpy()
        labels = result.pred_sem_seg.data[0].cpu().numpy()
        return Segmentation(source, image, labels, tuple(result.metainfo["vocabulary"]), maps)
