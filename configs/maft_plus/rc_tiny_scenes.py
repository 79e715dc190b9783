"""Representation compensation alone on the scenes: the tiny ConvNeXt CLIP is tuned, text embeddings stay."""

_base_ = ["./maft-plus_tiny_scenes.py"]

model = dict(cdt=None)
