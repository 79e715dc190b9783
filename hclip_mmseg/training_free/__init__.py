"""Segmentation with CLIP's weights alone: plain patches, the value path, SCLIP, CLIPtrase and its variants."""

from .backbone import PatchView, TrainingFreeBackbone
from .clip_crop import CLIPCrop
from .printed_figures_hook import PrintedFiguresHook
from .region_finder import RegionFinder
from .segmentor import TrainingFreeSegmentor
from .untrained_distributed import UntrainedDistributed

__all__ = [
    "CLIPCrop",
    "PatchView",
    "PrintedFiguresHook",
    "RegionFinder",
    "TrainingFreeBackbone",
    "TrainingFreeSegmentor",
    "UntrainedDistributed",
]
