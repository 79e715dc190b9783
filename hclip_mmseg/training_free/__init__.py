"""Segmentation with CLIP's weights alone: attentions of the last block, affinities from elsewhere, protocols."""

from hclip_mmseg.training_free.backbone import PatchView, TrainingFreeBackbone
from hclip_mmseg.training_free.clip_crop import CLIPCrop
from hclip_mmseg.training_free.clip_features import CLIPPatchFeatures
from hclip_mmseg.training_free.gem import GEMAttention
from hclip_mmseg.training_free.global_aggregation import GlobalAggregation
from hclip_mmseg.training_free.hungarian_metric import HungarianIoUMetric
from hclip_mmseg.training_free.label_propagation import LabelPropagation, PixelPropagation
from hclip_mmseg.training_free.pamr import PAMR
from hclip_mmseg.training_free.pooled_regions import PooledRegions, pooled_regions
from hclip_mmseg.training_free.printed_figures_hook import PrintedFiguresHook
from hclip_mmseg.training_free.proxy_attention import ProxyAttention
from hclip_mmseg.training_free.recursive_attention import RecursiveAttention
from hclip_mmseg.training_free.region_finder import RegionFinder
from hclip_mmseg.training_free.region_folder import RegionFolder
from hclip_mmseg.training_free.region_kmeans_hook import RegionKMeansHook
from hclip_mmseg.training_free.region_queries import RegionQueries, RegionQueryGenerator
from hclip_mmseg.training_free.region_scope import RegionScope
from hclip_mmseg.training_free.residual_attention import ResidualAttention
from hclip_mmseg.training_free.sam_aggregation import SAMAggregation
from hclip_mmseg.training_free.sam_masks import SAMMaskFolder
from hclip_mmseg.training_free.sam_prompts import SAMPrompts
from hclip_mmseg.training_free.segmentor import TrainingFreeSegmentor
from hclip_mmseg.training_free.self_calibration import SelfCalibration
from hclip_mmseg.training_free.stitched_scope import StitchedScope
from hclip_mmseg.training_free.timm_features import TimmPatchFeatures
from hclip_mmseg.training_free.unsupervised import UnsupervisedSegmentor
from hclip_mmseg.training_free.untrained_distributed import UntrainedDistributed

__all__ = [
    "PAMR",
    "CLIPCrop",
    "CLIPPatchFeatures",
    "GEMAttention",
    "GlobalAggregation",
    "HungarianIoUMetric",
    "LabelPropagation",
    "PatchView",
    "PixelPropagation",
    "PooledRegions",
    "PrintedFiguresHook",
    "ProxyAttention",
    "RecursiveAttention",
    "RegionFinder",
    "RegionFolder",
    "RegionKMeansHook",
    "RegionQueries",
    "RegionQueryGenerator",
    "RegionScope",
    "ResidualAttention",
    "SAMAggregation",
    "SAMMaskFolder",
    "SAMPrompts",
    "SelfCalibration",
    "StitchedScope",
    "TimmPatchFeatures",
    "TrainingFreeBackbone",
    "TrainingFreeSegmentor",
    "UnsupervisedSegmentor",
    "UntrainedDistributed",
    "pooled_regions",
]
