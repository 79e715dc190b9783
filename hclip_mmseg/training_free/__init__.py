"""Segmentation with CLIP's weights alone: plain patches, the value path, SCLIP, CLIPtrase and its variants."""

from hclip_mmseg.training_free.backbone import PatchView, TrainingFreeBackbone
from hclip_mmseg.training_free.clip_crop import CLIPCrop
from hclip_mmseg.training_free.hungarian_metric import HungarianIoUMetric
from hclip_mmseg.training_free.pooled_regions import PooledRegions, pooled_regions
from hclip_mmseg.training_free.printed_figures_hook import PrintedFiguresHook
from hclip_mmseg.training_free.region_finder import RegionFinder
from hclip_mmseg.training_free.region_kmeans_hook import RegionKMeansHook
from hclip_mmseg.training_free.region_queries import RegionQueries, RegionQueryGenerator
from hclip_mmseg.training_free.sam_masks import SAMMaskFolder
from hclip_mmseg.training_free.segmentor import TrainingFreeSegmentor
from hclip_mmseg.training_free.timm_features import TimmPatchFeatures
from hclip_mmseg.training_free.unsupervised import UnsupervisedSegmentor
from hclip_mmseg.training_free.untrained_distributed import UntrainedDistributed

__all__ = [
    "CLIPCrop",
    "HungarianIoUMetric",
    "PatchView",
    "PooledRegions",
    "PrintedFiguresHook",
    "RegionFinder",
    "RegionKMeansHook",
    "RegionQueries",
    "RegionQueryGenerator",
    "SAMMaskFolder",
    "TimmPatchFeatures",
    "TrainingFreeBackbone",
    "TrainingFreeSegmentor",
    "UnsupervisedSegmentor",
    "UntrainedDistributed",
    "pooled_regions",
]
