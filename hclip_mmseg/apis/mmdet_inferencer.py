"""Asking one of MMDetection's models about images; for systems that need MMDetection anyhow."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmcv import rescale_size
from mmcv.transforms import Resize
from mmdet.registry import TRANSFORMS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import Compose
from numpy.typing import NDArray
from torch import nn

from hclip_mmseg.apis.image_inferencer import Image, ImageInferencer
from hclip_mmseg.apis.inferencer import build_model
from hclip_mmseg.apis.opening import open_model
from hclip_mmseg.files.showing import with_article
from hclip_mmseg.results import Result

SIZES = ("Resize", "PublishedResize", "Pad")
"""Steps of a test pipeline that give images the size that a model is tested at."""


class MMDetInferencer(ImageInferencer):
    """A trained model whose images are resized as its config resizes those that it is tested on.

    Args:
        config: path of a config, the config, or a name that ``hclip-models`` lists.
        checkpoint: its trained weights; None: of a name, what is published.
        device: 'cpu', 'cuda', 'cuda:1' ...; 'auto' is a GPU where there is one.

    Raises:
        FileNotFoundError, ValueError: see :func:`~hclip_mmseg.apis.build_model`; also without a checkpoint, since
            proposals have to be learnt.
    """

    def __init__(self, config: str | Path | Config, checkpoint: str | Path | None = None, device: str = "auto") -> None:
        config, checkpoint, _ = open_model(config, checkpoint)
        if checkpoint is None:
            raise ValueError(
                f"{with_article(config.model.type)} finds nothing without training: give a checkpoint, such as "
                "training writes into its --work-dir"
            )
        model = build_model(config, checkpoint)
        self.check(model, config.model.type)
        super().__init__(model, device, config)
        tested = config.test_dataloader.dataset.pipeline
        steps = [
            dict(type="LoadImageFromNDArray", to_float32=any(step.get("to_float32") for step in tested)),
            *(step for step in tested if step["type"].split(".")[-1] in SIZES),
            dict(type="PackDetInputs", meta_keys=("ori_shape", "img_shape", "scale_factor")),
        ]
        self.pipeline = Compose([TRANSFORMS.build(dict(step, _scope_="mmdet")) for step in steps])

    def check(self, model: nn.Module, kind: str) -> None:
        """Raises ValueError for a model, of a config's type ``kind``, that has no such results."""

    def read(self, source: str, image: Image) -> NDArray[np.uint8]:
        """An image as RGB uint8 [H, W, 3]; ValueError for one that the model does not take, or is too narrow."""
        pixels = super().read(source, image)
        height, width = pixels.shape[:2]
        for step in self.pipeline.transforms:
            if isinstance(step, Resize) and step.keep_ratio and 0 in rescale_size((width, height), step.scale):
                raise ValueError(
                    f"{source} is {height} x {width} pixels, so narrow that nothing is left of it where the config "
                    f"resizes images to at most {' x '.join(map(str, step.scale))}"
                )
        return pixels

    def answers(self, sources: Sequence[str], images: Sequence[NDArray[np.uint8]]) -> list[Result]:
        """The model's results for images of one size, RGB uint8 [H, W, 3] each, called ``sources``."""
        groups = dict(name_groups=self.question.groups)
        packed = [self.pipeline(dict(img=np.ascontiguousarray(image[..., ::-1]))) for image in images]
        for sample in packed:
            sample["data_samples"].set_metainfo(groups)
        batch = {key: [sample[key] for sample in packed] for key in ("inputs", "data_samples")}
        with torch.no_grad():
            found = self.model.test_step(batch)
        return [self.result(*each) for each in zip(sources, images, found, strict=True)]

    @abstractmethod
    def result(self, source: str, image: NDArray[np.uint8], sample: DetDataSample) -> Result:
        """An image's result from what the model found in it.

        Args:
            source: the image's path or place.
            image: RGB uint8 [H, W, 3].
            sample: the model's.
        """
