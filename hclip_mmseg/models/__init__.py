"""Registered modules: importing this package registers them with MMSegmentation."""

from hclip_mmseg.models.backbones import HCLIPBackbone
from hclip_mmseg.models.decode_heads import CosineHead, CostAggregationHead
from hclip_mmseg.models.losses import AllClassesBCELoss
from hclip_mmseg.models.necks import TextEncoderNeck
from hclip_mmseg.models.segmentors import OpenVocabSegmentor

__all__ = [
    "AllClassesBCELoss",
    "CosineHead",
    "CostAggregationHead",
    "HCLIPBackbone",
    "OpenVocabSegmentor",
    "TextEncoderNeck",
]
