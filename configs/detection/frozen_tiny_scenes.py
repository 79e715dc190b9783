"""The detector on the scenes with the tiny CLIP frozen."""

_base_ = ["./hclip_tiny_scenes.py"]

model = dict(backbone=dict(adapter=None, train_positions=False))
