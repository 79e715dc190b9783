"""Registered modules: importing this package registers them with MMSegmentation."""

from hclip_mmseg.models.backbones import ConvNeXtBackbone, HCLIPBackbone
from hclip_mmseg.models.clip_backbone import CLIPBackbone
from hclip_mmseg.models.decode_heads import CosineHead, CostAggregationHead, GradualFusionHead, OpenVocabDecodeHead
from hclip_mmseg.models.losses import AllClassesBCELoss
from hclip_mmseg.models.necks import TextEncoderNeck
from hclip_mmseg.models.open_vocab_model import OpenVocabModel
from hclip_mmseg.models.segmentors import OpenVocabSegmentor

__all__ = [
    "AllClassesBCELoss",
    "CLIPBackbone",
    "CosineHead",
    "CostAggregationHead",
    "ConvNeXtBackbone",
    "GradualFusionHead",
    "HCLIPBackbone",
    "OpenVocabDecodeHead",
    "OpenVocabModel",
    "OpenVocabSegmentor",
    "TextEncoderNeck",
]
