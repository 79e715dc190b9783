"""What this project needs from the OpenMMLab packages and their releases differ in.

No other package here knows which distribution is installed, or whether it was compiled.
"""

from .checkpoints import trust_mmengine_checkpoints
from .mmcv_ops import MissingMMCVOpError, ensure_mmcv_ops

__all__ = ["MissingMMCVOpError", "ensure_mmcv_ops", "trust_mmengine_checkpoints"]
