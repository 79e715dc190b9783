"""Open-vocabulary segmentation for MMSegmentation: H-CLIP and the parts that it is made of.

Importing the package registers its components; nothing else happens.
"""

from hclip_mmseg.compat import (
    ensure_mmcv_ops,
    ensure_mmpretrain,
    ensure_panopticapi,
    name_config_packages,
    quiet_imports,
    read_checkpoints_with,
)
from hclip_mmseg.files import checkpoints
from hclip_mmseg.files.paths import configs_folder
from hclip_mmseg.files.version import project_version

ensure_mmcv_ops()
ensure_panopticapi()
read_checkpoints_with(checkpoints.load)
name_config_packages(configs_folder)

with quiet_imports():
    ensure_mmpretrain()
    from hclip_mmseg import datasets, engine, evaluation, models, visualization

__version__ = project_version()

__all__ = ["datasets", "engine", "evaluation", "models", "visualization"]
