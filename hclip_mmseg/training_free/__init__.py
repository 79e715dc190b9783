"""Segmentation with CLIP's weights alone: plain patches, the value path, SCLIP, CLIPtrase and its variants."""

from .backbone import PatchView, TrainingFreeBackbone
from .region_finder import RegionFinder
from .segmentor import TrainingFreeSegmentor

__all__ = ["PatchView", "RegionFinder", "TrainingFreeBackbone", "TrainingFreeSegmentor"]
