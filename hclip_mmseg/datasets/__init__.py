"""Registered data sets, and the vocabularies that name their classes."""

from hclip_mmseg.datasets.ade20k import ADE20K150Dataset, ADE20K847Dataset
from hclip_mmseg.datasets.coco_stuff import (
    COCO27Dataset,
    COCOObjectAllBackgroundDataset,
    COCOObjectDataset,
    COCOStuff171Dataset,
)
from hclip_mmseg.datasets.epoch_replay import EpochReplayableSampler
from hclip_mmseg.datasets.folder import FolderDataset
from hclip_mmseg.datasets.haze import Haze
from hclip_mmseg.datasets.image_files import LoadImageFromFile
from hclip_mmseg.datasets.label_maps import LoadLabelMap
from hclip_mmseg.datasets.mixed import MixedDataset
from hclip_mmseg.datasets.pascal import (
    PascalContext59Dataset,
    PascalContext60Dataset,
    PascalContext459Dataset,
    PascalVOC20bDataset,
    PascalVOC20Dataset,
    PascalVOC21Dataset,
    PascalVOC21OutlinesIgnoredDataset,
)
from hclip_mmseg.datasets.published_resize import PublishedResize
from hclip_mmseg.datasets.reduced_images import LoadReducedImageFromFile
from hclip_mmseg.datasets.replay import ReplayableSampler, SeedAugmentation
from hclip_mmseg.datasets.scenes import RenderScene, SceneDataset
from hclip_mmseg.datasets.street_scenes import Cityscapes19Dataset, Cityscapes27Dataset, Mapillary65Dataset

__all__ = [
    "ADE20K150Dataset",
    "ADE20K847Dataset",
    "COCO27Dataset",
    "COCOObjectAllBackgroundDataset",
    "COCOObjectDataset",
    "COCOStuff171Dataset",
    "Cityscapes19Dataset",
    "Cityscapes27Dataset",
    "EpochReplayableSampler",
    "FolderDataset",
    "Haze",
    "LoadImageFromFile",
    "LoadLabelMap",
    "LoadReducedImageFromFile",
    "Mapillary65Dataset",
    "MixedDataset",
    "PascalContext459Dataset",
    "PascalContext59Dataset",
    "PascalContext60Dataset",
    "PascalVOC20Dataset",
    "PascalVOC20bDataset",
    "PascalVOC21Dataset",
    "PascalVOC21OutlinesIgnoredDataset",
    "PublishedResize",
    "RenderScene",
    "ReplayableSampler",
    "SceneDataset",
    "SeedAugmentation",
]
