"""Images seen through haze: a known gap between what CLIP was pretrained on and what it is fine-tuned on."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

AIRLIGHT = 220.0  # the haze's own grey


@TRANSFORMS.register_module()
class Haze(BaseTransform):
    """Mixes an image with grey light: ``(1 - density) x image + density x 220``, the haze of one even depth.

    Required and changed key: ``img`` (``uint8 [H, W, 3]``).

    Args:
        density: share of the haze in every pixel, 0 (clear) to below 1.
        scenes_only: whether images from elsewhere, which MMSegmentation's inferencers put through a config's test
            pipeline, stay as they are.

    Raises:
        ValueError: the density is out of range.
    """

    def __init__(self, density: float, scenes_only: bool = False) -> None:
        if not 0 <= density < 1:
            raise ValueError(f"the density of Haze must be at least 0 and below 1, not {density}")
        self.density, self.scenes_only = density, scenes_only

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        if self.scenes_only and "scene" not in results:
            return results
        clear = results["img"].astype(np.float32)
        results["img"] = np.round((1 - self.density) * clear + self.density * AIRLIGHT).astype(np.uint8)
        return results
