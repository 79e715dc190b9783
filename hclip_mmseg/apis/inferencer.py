"""Segmenting images into given words, from Python."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
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
from hclip_mmseg.apis.launch import quieten_dependencies
from hclip_mmseg.apis.opening import open_model
from hclip_mmseg.apis.weights import read_weights
from hclip_mmseg.datasets.published_resize import published_resize_steps
from hclip_mmseg.models.frozen import frozen_clip_config
from hclip_mmseg.results import Result


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
    with warnings.catch_warnings():
        quieten_dependencies()
        model = MODELS.build(config.model)
    if checkpoint is not None:
        weights = read_weights(checkpoint)
        weights.check(model)
        model.load_state_dict(weights.state)
    return model.eval()


class OpenVocabInferencer(ImageInferencer):
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
        model = build_model(config, checkpoint)
        if checkpoint is None:
            config = Config(config.to_dict() | dict(model=frozen_clip_config(config.model.to_dict())))
        super().__init__(model, device, config)

    def answers(
        self, sources: Sequence[str], images: Sequence[NDArray[np.uint8]], *, scores: bool = False
    ) -> list[Result]:
        """Segment images of one size, RGB uint8 [H, W, 3] each.

        Args:
            sources: the images' paths or places.
            images: the images.
            scores: whether to give the scores of all class names too.

        Raises:
            ValueError: if the scores take more memory than the model's configuration allows.
        """
        question, inputs, samples = self.question, [], []
        for source, image in zip(sources, images, strict=True):
            resized = image
            for step in self.resize_steps:
                resized = step.transform(dict(img=resized, img_path=source))["img"]
            inputs.append(torch.from_numpy(np.ascontiguousarray(resized[..., ::-1].transpose(2, 0, 1))))
            shape = dict(ori_shape=image.shape[:2], img_shape=resized.shape[:2])
            meta = dict(img_path=source, keep_scores=scores, name_groups=question.groups, **shape)
            samples.append(SegDataSample(metainfo=meta))
        with torch.no_grad():
            found = self.model.test_step(dict(inputs=inputs, data_samples=samples))
        return [
            self._result(source, image, sample, scores)
            for source, image, sample in zip(sources, images, found, strict=True)
        ]

    def _result(self, source: str, image: NDArray[np.uint8], sample: SegDataSample, scores: bool) -> Result:
        maps = None
        if scores:
            if "seg_logits" not in sample:
                raise ValueError(
                    f"the scores of {len(self.model.vocabulary)} class names for {source} take more memory than "
                    "test_cfg.score_memory allows; raise it, or ask for fewer"
                )
            maps = sample.seg_logits.data.cpu().numpy()
        found = sample.pred_sem_seg.cpu().numpy()
        certainty = found.score[0] if "score" in found else None
        presence = sample.metainfo.get("presence")
        return self.question.segmented(source, image, found.data[0], certainty, maps, presence)
