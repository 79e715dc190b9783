"""Representation compensation with the stem and the first stage frozen."""

_base_ = ["./rc_convnext-l_coco-stuff.py"]

model = dict(backbone=dict(frozen_stages=1))
paper = dict(_delete_=True, table="freezing", row="freeze S0-1", mIoU={"A-847": 14.6, "A-150": 34.7, "PC-59": 57.0})
