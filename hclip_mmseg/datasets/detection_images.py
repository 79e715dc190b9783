"""The loader of images under its name in MMDetection's scope too; importing registers it there."""

from __future__ import annotations

from mmdet.registry import TRANSFORMS

from hclip_mmseg.datasets.image_files import LoadImageFromFile

TRANSFORMS.register_module(module=LoadImageFromFile)
