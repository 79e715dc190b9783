"""Representation compensation with the stem and the first 2 stages frozen."""

_base_ = ["./rc_convnext-l_coco-stuff.py"]

model = dict(backbone=dict(frozen_stages=2))
paper = dict(_delete_=True, table="freezing", row="freeze S0-2", mIoU={"A-847": 14.0, "A-150": 34.6, "PC-59": 55.3})
