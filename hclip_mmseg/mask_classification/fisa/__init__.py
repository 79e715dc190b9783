"""FISA: mask embeddings from CLIP's image tower, enriched by the names that are asked for."""

from hclip_mmseg.mask_classification.fisa.distribution_adapter import DistributionAdapter
from hclip_mmseg.mask_classification.fisa.fisa_clip import FISACLIP
from hclip_mmseg.mask_classification.fisa.fisa_segmentor import FISA
from hclip_mmseg.mask_classification.fisa.mask_bias import mask_bias, patch_logits
from hclip_mmseg.mask_classification.fisa.mask_token_tower import ImageState, MaskTokenTower
from hclip_mmseg.mask_classification.fisa.seve import SEVE, ClassAttention
from hclip_mmseg.mask_classification.fisa.tuned_queries import TunedQueries

__all__ = [
    "FISA",
    "FISACLIP",
    "SEVE",
    "ClassAttention",
    "DistributionAdapter",
    "ImageState",
    "MaskTokenTower",
    "TunedQueries",
    "mask_bias",
    "patch_logits",
]
