"""What this project needs from the OpenMMLab packages and their releases differ in.

No other package here knows which distribution is installed, or whether it was compiled.
"""

from hclip_mmseg.compat.checkpoints import read_checkpoints_with
from hclip_mmseg.compat.config_packages import name_config_packages
from hclip_mmseg.compat.imports import import_quietly, quiet_imports
from hclip_mmseg.compat.meta_device import meta_device
from hclip_mmseg.compat.mmcv_ops import MissingMMCVOpError, ensure_mmcv_ops
from hclip_mmseg.compat.panoptic_api import ensure_panopticapi
from hclip_mmseg.compat.transformers import ensure_mmpretrain

__all__ = [
    "MissingMMCVOpError",
    "ensure_mmcv_ops",
    "ensure_mmpretrain",
    "ensure_panopticapi",
    "import_quietly",
    "meta_device",
    "name_config_packages",
    "quiet_imports",
    "read_checkpoints_with",
]
