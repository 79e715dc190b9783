"""Pictures that are evaluated on reduced copies."""

from __future__ import annotations

from typing import Any

import mmcv
from mmcv.transforms import LoadImageFromFile
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadReducedImageFromFile(LoadImageFromFile):
    """Loads a picture and reduces it to a shorter side of so many pixels, as if the file held that copy.

    A-847's published figures are of such copies, of 512 pixels, pictures interpolated bilinearly and label maps by the
    nearest pixel. Smaller pictures stay as they are.

    Sets ``img``, ``img_shape`` and ``ori_shape`` to those of the copy, and, for ``LoadLabelMap``, ``label_shape``.

    Args:
        short_side: in pixels, at least 1.
        kwargs: of mmcv's ``LoadImageFromFile``.

    Raises:
        ValueError: if ``short_side`` is less than 1.
    """

    def __init__(self, short_side: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if short_side < 1:
            raise ValueError(f"short_side must be at least 1, not {short_side}")
        self.short_side = short_side

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """See the class; None where the file is missing and ``ignore_empty``."""
        results = super().transform(results)
        if results is None:
            return None
        height, width = results["ori_shape"]
        scale = self.short_side / min(height, width)
        if scale < 1:
            shape = round(height * scale), round(width * scale)
            results["img"] = mmcv.imresize(results["img"], shape[::-1], interpolation="bilinear")
            results["img_shape"] = results["ori_shape"] = results["label_shape"] = shape
        return results

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, short_side={self.short_side})"
