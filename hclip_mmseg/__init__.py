"""Open-vocabulary segmentation for MMSegmentation: H-CLIP and the parts that it is made of.

Importing the package registers its components; nothing else happens.
"""

from hclip_mmseg.compat import ensure_mmcv_ops, ensure_panopticapi, read_checkpoints_with
from hclip_mmseg.files import checkpoints

ensure_mmcv_ops()
ensure_panopticapi()
read_checkpoints_with(checkpoints.load)

from hclip_mmseg import datasets, engine, evaluation, models, visualization  # noqa: E402

__version__ = "0.1.0"

__all__ = ["datasets", "engine", "evaluation", "models", "visualization"]
