"""Registered backbones."""

from hclip_mmseg.models.backbones.convnext_backbone import ConvNeXtBackbone
from hclip_mmseg.models.backbones.hclip_backbone import HCLIPBackbone
from hclip_mmseg.models.backbones.pretrained_backbone import PretrainedBackbone

__all__ = ["ConvNeXtBackbone", "HCLIPBackbone", "PretrainedBackbone"]
