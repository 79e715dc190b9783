"""MAFT+: CLIP's ConvNeXt and the text embeddings tuned together for the classification of masks."""

from hclip_mmseg.mask_classification.maft_plus.content_dependent_transfer import ContentDependentTransfer
from hclip_mmseg.mask_classification.maft_plus.frozen_trunk import FrozenTrunk
from hclip_mmseg.mask_classification.maft_plus.geometric_ensemble import geometric_ensemble, shares_a_name
from hclip_mmseg.mask_classification.maft_plus.maft_plus_clip import MAFTPlusCLIP
from hclip_mmseg.mask_classification.maft_plus.maft_plus_segmentor import MAFTPlus, Proposals
from hclip_mmseg.mask_classification.maft_plus.mask_aware_loss import MaskAwareLoss
from hclip_mmseg.mask_classification.maft_plus.mask_pooling import mask_pooling
from hclip_mmseg.mask_classification.maft_plus.proposal_head import OpenVocabMask2FormerHead
from hclip_mmseg.mask_classification.maft_plus.representation_compensation import RepresentationCompensation
from hclip_mmseg.mask_classification.maft_plus.self_distillation import SelfDistillation

__all__ = [
    "ContentDependentTransfer",
    "FrozenTrunk",
    "MAFTPlus",
    "MAFTPlusCLIP",
    "MaskAwareLoss",
    "OpenVocabMask2FormerHead",
    "Proposals",
    "RepresentationCompensation",
    "SelfDistillation",
    "geometric_ensemble",
    "mask_pooling",
    "shares_a_name",
]
