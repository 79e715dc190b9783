"""Registered backbones."""

from hclip_mmseg.models.backbones.hclip_backbone import HCLIPBackbone

__all__ = ["HCLIPBackbone"]
