"""The baseline on the scenes: the tiny ConvNeXt CLIP stays frozen, proposals alone are trained."""

_base_ = ["./maft-plus_tiny_scenes.py"]

model = dict(backbone=dict(frozen_stages=4), cdt=None, rc=None, mask_aware_loss=None)
