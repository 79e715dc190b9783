"""What this project needs from the OpenMMLab packages and their releases differ in.

No other package here knows which distribution is installed, or whether it was compiled.
"""

from hclip_mmseg.compat.checkpoints import read_checkpoints_with
from hclip_mmseg.compat.meta_device import meta_device
from hclip_mmseg.compat.mmcv_ops import MissingMMCVOpError, ensure_mmcv_ops
from hclip_mmseg.compat.panoptic_api import ensure_panopticapi

__all__ = ["MissingMMCVOpError", "ensure_mmcv_ops", "ensure_panopticapi", "meta_device", "read_checkpoints_with"]
