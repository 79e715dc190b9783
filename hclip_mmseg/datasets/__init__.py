"""Registered data sets, and the vocabularies that name their classes."""

from .coco_stuff import COCOStuff171Dataset
from .epoch_replay import EpochReplayableSampler
from .replay import ReplayableSampler, SeedAugmentation
from .scenes import RenderScene, SceneDataset

__all__ = [
    "COCOStuff171Dataset",
    "EpochReplayableSampler",
    "RenderScene",
    "ReplayableSampler",
    "SceneDataset",
    "SeedAugmentation",
]
