"""The baseline on the scenes: mask tokens of the frozen tiny CLIP; the void embedding alone is trained."""

_base_ = ["./fisa_tiny_scenes.py"]

model = dict(backbone=dict(seve=None, distribution_adapter=None, tuning="none"))
