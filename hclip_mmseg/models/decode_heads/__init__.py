"""Registered decode heads."""

from hclip_mmseg.models.decode_heads.cosine_head import CosineHead
from hclip_mmseg.models.decode_heads.cost_aggregation_head import CostAggregationHead
from hclip_mmseg.models.decode_heads.gradual_fusion_head import GradualFusionHead
from hclip_mmseg.models.decode_heads.open_vocab_decode_head import OpenVocabDecodeHead

__all__ = ["CosineHead", "CostAggregationHead", "GradualFusionHead", "OpenVocabDecodeHead"]
