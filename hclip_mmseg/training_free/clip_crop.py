"""CLIP's own preprocessing for images with labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from PIL import Image
from torchvision.transforms.functional import InterpolationMode, center_crop, resize


@TRANSFORMS.register_module()
class CLIPCrop(BaseTransform):
    """Brings the shorter side to ``size`` (bicubic, as CLIP's own) and cuts out the middle; so with the labels.

    CLIPtrase is measured on such squares. With ``whole`` nothing is cut: image and labels stay as they are, the
    segmentor brings the image to its resolution itself, and the result is compared at the labels' size.

    Required keys: ``img``. Changed keys: ``img``, ``img_shape``, ``ori_shape``, ``gt_seg_map`` and whatever else
    ``seg_fields`` lists. Added keys: ``clip_crop``, (height, width) before the cut and (top, left) of it.

    Args:
        size: side of the square, in pixels.
        whole: keep the whole image.
    """

    def __init__(self, size: int = 224, whole: bool = False) -> None:
        self.size, self.whole = size, whole

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        if self.whole:
            return results
        image = self._shortest(Image.fromarray(results["img"]), InterpolationMode.BICUBIC)
        width, height = image.size
        results["clip_crop"] = (height, width, round((height - self.size) / 2), round((width - self.size) / 2))
        results["img"] = np.asarray(center_crop(image, [self.size, self.size]))
        results["img_shape"] = results["ori_shape"] = (self.size, self.size)
        for key in results.get("seg_fields", []):
            labels = results[key]
            # PIL holds labels above 255 in 32 bits only
            shown = self._shortest(Image.fromarray(labels.astype(np.int32)), InterpolationMode.NEAREST)
            results[key] = np.asarray(center_crop(shown, [self.size, self.size])).astype(labels.dtype)
        return results

    def _shortest(self, image: Image.Image, interpolation: InterpolationMode) -> Image.Image:
        return resize(image, [self.size], interpolation)
