"""MMDetection's data sets, with this project's loader of images among its own; importing registers it there.

They take long to import (imgaug, numba), so that mask classification and detection alone do, by this module first.
"""

from __future__ import annotations

from mmdet.registry import TRANSFORMS

from hclip_mmseg.compat import import_quietly
from hclip_mmseg.datasets.image_files import LoadImageFromFile

import_quietly("mmdet.datasets")
TRANSFORMS.register_module(module=LoadImageFromFile)
