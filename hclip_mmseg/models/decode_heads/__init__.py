"""Registered decode heads."""

from hclip_mmseg.models.decode_heads.cosine_head import CosineHead
from hclip_mmseg.models.decode_heads.cost_aggregation_head import CostAggregationHead

__all__ = ["CosineHead", "CostAggregationHead"]
