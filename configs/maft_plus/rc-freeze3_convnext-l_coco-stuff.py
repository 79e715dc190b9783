"""Representation compensation with the stem and the first 3 stages frozen."""

_base_ = ["./rc_convnext-l_coco-stuff.py"]

model = dict(backbone=dict(frozen_stages=3))
paper = dict(_delete_=True, table="freezing", row="freeze S0-3", mIoU={"A-847": 13.6, "A-150": 33.6, "PC-59": 54.7})
