"""The cost-aggregation network, one idea a file. Plain torch; the registered head is in decode_heads/."""

from hclip_mmseg.models.cost_aggregation.aggregator import CostAggregator, scores_of_all
from hclip_mmseg.models.cost_aggregation.gradual_fusion import GradualFusionDecoder

__all__ = ["CostAggregator", "GradualFusionDecoder", "scores_of_all"]
