"""Content-dependent transfer alone on the scenes: the tiny ConvNeXt CLIP stays frozen."""

_base_ = ["./maft-plus_tiny_scenes.py"]

model = dict(backbone=dict(frozen_stages=4), rc=None)
