"""Representation compensation over grids of 1, 2 regions a side."""

_base_ = ["./rc_convnext-l_coco-stuff.py"]

model = dict(rc=dict(grids=(1, 2)))
paper = dict(_delete_=True, table="grids", row="{1, 2}", mIoU={"A-847": 14.0, "A-150": 34.6, "PC-59": 56.6})
