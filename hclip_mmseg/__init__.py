"""Open-vocabulary segmentation for MMSegmentation: H-CLIP and the parts that it is made of.

Importing the package registers its components; nothing else happens.
"""

from hclip_mmseg.compat import ensure_mmcv_ops, ensure_panopticapi, trust_mmengine_checkpoints

ensure_mmcv_ops()
ensure_panopticapi()
trust_mmengine_checkpoints()

from hclip_mmseg import datasets, engine, evaluation, models, visualization  # noqa: E402

__version__ = "0.1.0"

__all__ = ["datasets", "engine", "evaluation", "models", "visualization"]
