"""Registered data sets, and the vocabularies that name their classes."""

from .coco_stuff import COCOStuff171Dataset
from .replay import ReplayableSampler, SeedAugmentation
from .scenes import RenderScene, SceneDataset

__all__ = ["COCOStuff171Dataset", "RenderScene", "ReplayableSampler", "SceneDataset", "SeedAugmentation"]
