"""Baseline + SEVE + full tuning on the scenes: all of the image tower is trained."""

_base_ = ["./fisa_tiny_scenes.py"]

model = dict(backbone=dict(tuning="full"))
