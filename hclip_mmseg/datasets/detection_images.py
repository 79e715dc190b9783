"""MMDetection's data sets and metrics, with this project's loader of images; importing registers it there.

They take long to import (imgaug, numba), so that mask classification and detection alone do, by this module first.
"""

from __future__ import annotations

from mmdet.registry import TRANSFORMS

from hclip_mmseg.compat import import_quietly
from hclip_mmseg.datasets.image_files import LoadImageFromFile

for module in ("mmdet.datasets", "mmdet.evaluation"):
    import_quietly(module)
TRANSFORMS.register_module(module=LoadImageFromFile)
