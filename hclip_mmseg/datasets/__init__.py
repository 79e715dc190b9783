"""Registered data sets, and the vocabularies that name their classes."""

from .ade20k import ADE20K150Dataset, ADE20K847Dataset
from .coco_stuff import COCO27Dataset, COCOObjectDataset, COCOStuff171Dataset
from .epoch_replay import EpochReplayableSampler
from .haze import Haze
from .label_maps import LoadLabelMap
from .pascal import (
    PascalContext59Dataset,
    PascalContext60Dataset,
    PascalContext459Dataset,
    PascalVOC20bDataset,
    PascalVOC20Dataset,
    PascalVOC21Dataset,
)
from .reduced_pictures import LoadReducedImageFromFile
from .replay import ReplayableSampler, SeedAugmentation
from .scenes import RenderScene, SceneDataset
from .street_scenes import Cityscapes19Dataset, Cityscapes27Dataset, Mapillary65Dataset

__all__ = [
    "ADE20K150Dataset",
    "ADE20K847Dataset",
    "COCO27Dataset",
    "COCOObjectDataset",
    "COCOStuff171Dataset",
    "Cityscapes19Dataset",
    "Cityscapes27Dataset",
    "EpochReplayableSampler",
    "Haze",
    "LoadLabelMap",
    "LoadReducedImageFromFile",
    "Mapillary65Dataset",
    "PascalContext459Dataset",
    "PascalContext59Dataset",
    "PascalContext60Dataset",
    "PascalVOC20Dataset",
    "PascalVOC20bDataset",
    "PascalVOC21Dataset",
    "RenderScene",
    "ReplayableSampler",
    "SceneDataset",
    "SeedAugmentation",
]
