"""The tiny ConvNeXt: a CLIP image tower for the scenes in ConvNeXt's form. Importing it registers it with timm.

Its maps have strides 4, 8, 16 and 16, the last stage being dilated: objects of the scenes are a few dozen pixels large,
and would be but one or two positions of a map of stride 32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from timm.models import build_model_with_cfg, register_model
from timm.models.convnext import ConvNeXt

CONFIG_PATH = Path(__file__).with_name("tiny_convnext.json")
CHECKPOINT_PATH = Path(__file__).with_name("tiny_convnext.pt")
# open_clip reads from pool_size that the maps have two dimensions
DEFAULTS: dict[str, Any] = dict(url="", pool_size=(12, 12))


@register_model
def convnext_scenes(pretrained: bool = False, pretrained_cfg: Any = None, **kwargs: Any) -> ConvNeXt:
    """A ConvNeXt of 1.1 M parameters; timm has no weights for it.

    Args:
        pretrained, pretrained_cfg: timm's, not used.
        kwargs: of timm's ``ConvNeXt``.
    """
    shape: dict[str, Any] = dict(depths=(2, 2, 4, 2), dims=(24, 48, 96, 192), output_stride=16, ls_init_value=1.0)
    model: ConvNeXt = build_model_with_cfg(
        ConvNeXt, "convnext_scenes", pretrained=False, pretrained_cfg=DEFAULTS, **shape, **kwargs
    )
    return model
