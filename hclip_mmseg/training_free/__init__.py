"""Segmentation with CLIP's weights alone: plain patches, the value path, SCLIP, CLIPtrase and its variants."""

from .backbone import PatchView, TrainingFreeBackbone
from .clip_crop import CLIPCrop
from .hungarian_metric import HungarianIoUMetric
from .pooled_regions import PooledRegions, pooled_regions
from .printed_figures_hook import PrintedFiguresHook
from .region_finder import RegionFinder
from .region_kmeans_hook import RegionKMeansHook
from .region_queries import RegionQueries, RegionQueryGenerator
from .sam_masks import SAMMaskFolder
from .segmentor import TrainingFreeSegmentor
from .timm_features import TimmPatchFeatures
from .unsupervised import UnsupervisedSegmentor
from .untrained_distributed import UntrainedDistributed

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
