"""Registered data sets, and the vocabularies that name their classes."""

from .coco_stuff import COCOStuff171Dataset

__all__ = ["COCOStuff171Dataset"]
