"""When results are drawn during validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hclip_mmseg.files.result_names import ResultNames
from hclip_mmseg.visualization.image_backends import SUFFIX


@HOOKS.register_module()
class OpenVocabVisualizationHook(Hook):
    """Gives results to the run's visualizer, over the image that the model was given.

    MMSeg's `SegVisualizationHook` reads the image's file again; this one works for rendered data sets too.

    Args:
        draw: whether to draw at all.
        interval: every how many-th image is drawn, the first one included.
        show: whether to open windows too.
        wait_time: seconds for which a window stays.

    Attributes:
        prefix: what the names of images begin with, to tell data sets apart.
    """

    def __init__(self, draw: bool = False, interval: int = 50, show: bool = False, wait_time: float = 0.0) -> None:
        self.draw = draw
        self.interval = interval
        self.show = show
        self.wait_time = wait_time
        self.prefix = ""
        self._names = ResultNames()

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[SegDataSample] | None = None,
        mode: str = "train",
    ) -> None:
        if not self.draw or mode == "train":
            return
        loader = runner.val_dataloader if mode == "val" else runner.test_dataloader
        step = runner.iter if mode == "val" else 0  # asking a test for its iteration would build the training data
        first = batch_idx * (loader.batch_size or 1)
        inputs = data_batch["inputs"]
        if len(inputs) and isinstance(inputs[0], (list, tuple)):  # of augmentation in testing: one list a view
            inputs = inputs[0]
        for position, (image, sample) in enumerate(zip(inputs, outputs or (), strict=True)):
            if (first + position) % self.interval == 0:
                name = self._names.name(sample.img_path, getattr(loader, "dataset", None))
                runner.visualizer.add_datasample(
                    f"{mode}_{self.prefix}{name}{SUFFIX}",
                    as_rgb(image, tuple(sample.ori_shape[:2]), sample.metainfo.get("scale_factor")),
                    data_sample=sample,
                    show=self.show,
                    wait_time=self.wait_time,
                    step=step,
                )


def as_rgb(
    image: Tensor, size: tuple[int, int], scale_factor: Sequence[float] | None = None
) -> NDArray[np.uint8]:
    """An image of a pipeline, BGR [3, h, w] of 0..255, as RGB uint8 [H, W, 3] in the size (H, W) of the result.

    Where ``scale_factor``, of width and height, says that the image was padded, the padding is left out.
    """
    if scale_factor is not None:
        image = image[:, : round(size[0] * scale_factor[1]), : round(size[1] * scale_factor[0])]
    values = image.round().clamp(0, 255).byte() if image.is_floating_point() else image
    rgb = np.ascontiguousarray(values.flip(0).permute(1, 2, 0).cpu().numpy())
    if rgb.shape[:2] == size:
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((size[1], size[0]), Image.Resampling.BILINEAR))
