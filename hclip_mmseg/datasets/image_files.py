"""Images of data sets, read as those of the inferencers are."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import mmcv.transforms
import numpy as np
from mmengine import fileio
from mmseg.registry import TRANSFORMS

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.images import read_pixels

AS_STORED = "color_ignore_orientation"


@TRANSFORMS.register_module()
class LoadImageFromFile(mmcv.transforms.LoadImageFromFile):
    """mmcv's, under its own name, by which MMSegmentation's inferencers look for it.

    With ``imdecode_backend='pillow'``, as in this project's configs, colour images are read by
    :func:`~hclip_mmseg.files.images.read_pixels`, as predict.py reads them; mmcv would turn grey of 16 bits white, and
    lay grey with an alpha channel over a colour. What cannot be read is named, by other backends too.

    Arguments are those of mmcv's.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """See mmcv's.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is no image that can be read.
        """
        path = results["img_path"]
        try:
            if self.imdecode_backend != "pillow" or self.color_type not in ("color", AS_STORED):
                return self._by_mmcv(results)
            content = fileio.get(path, backend_args=self.backend_args)
            image = read_pixels(BytesIO(content), path, upright=self.color_type != AS_STORED)[..., ::-1]
        except (InputError, OSError):
            if self.ignore_empty:
                return None
            raise
        results["img"] = image.astype(np.float32) if self.to_float32 else image
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results

    def _by_mmcv(self, results: dict[str, Any]) -> dict[str, Any] | None:
        try:
            loaded: dict[str, Any] | None = super().transform(results)
        except OSError:
            raise
        except Exception as error:  # of OpenCV, or mmcv's assertion that something was read
            raise InputError(f"{results['img_path']} is no image that can be read, or a broken one") from error
        return loaded
