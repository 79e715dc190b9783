"""Baseline + SEVE on the scenes: the tiny CLIP stays frozen."""

_base_ = ["./fisa_tiny_scenes.py"]

model = dict(backbone=dict(tuning="none"))
