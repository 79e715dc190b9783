"""Images that are evaluated on reduced copies."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import mmcv
import numpy as np
from mmseg.registry import TRANSFORMS
from numpy.typing import NDArray
from PIL import Image

from hclip_mmseg.datasets.image_files import LoadImageFromFile


def jpeg_copy(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What is read again of an image that Pillow wrote as a JPEG of its default quality; both BGR uint8 [H, W, 3]."""
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(image[..., ::-1])).save(file, "JPEG")
    with Image.open(file) as copy:
        return np.ascontiguousarray(np.asarray(copy)[..., ::-1])


@TRANSFORMS.register_module()
class LoadReducedImageFromFile(LoadImageFromFile):
    """Loads an image and reduces it to a shorter side of so many pixels, as if the file held that copy.

    The published figures of A-847 are of such copies, which MaskFormer's preparation script makes: a shorter side of
    512 pixels, images interpolated bilinearly by OpenCV and saved as JPEG, label maps by the nearest pixel. Smaller
    images keep their size.

    Sets ``img``, ``img_shape`` and ``ori_shape`` to those of the copy, and, for ``LoadLabelMap``, ``label_shape``.

    Args:
        short_side: in pixels, at least 1.
        jpeg: whether the copy is compressed as the published ones are, which changes pixels by 3 to 6 grey levels.
        kwargs: of mmcv's ``LoadImageFromFile``.

    Raises:
        ValueError: if ``short_side`` is less than 1.
    """

    def __init__(self, short_side: int, jpeg: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if short_side < 1:
            raise ValueError(f"short_side must be at least 1, not {short_side}")
        self.short_side, self.jpeg = short_side, jpeg

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """See the class; None where the file is missing and ``ignore_empty``."""
        loaded = super().transform(results)
        if loaded is None:
            return None
        height, width = loaded["ori_shape"]
        if min(height, width) > self.short_side:
            long_side = round(max(height, width) / min(height, width) * self.short_side)
            shape = (self.short_side, long_side) if height <= width else (long_side, self.short_side)
            loaded["img"] = mmcv.imresize(loaded["img"], shape[::-1], interpolation="bilinear", backend="cv2")
            loaded["img_shape"] = loaded["ori_shape"] = loaded["label_shape"] = shape
        if self.jpeg:
            loaded["img"] = jpeg_copy(loaded["img"])
        return loaded

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, short_side={self.short_side}, jpeg={self.jpeg})"
