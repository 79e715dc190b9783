"""Representation compensation over grids of 1, 3, 6 regions a side."""

_base_ = ["./rc_convnext-l_coco-stuff.py"]

model = dict(rc=dict(grids=(1, 3, 6)))
paper = dict(_delete_=True, table="grids", row="{1, 3, 6}", mIoU={"A-847": 14.5, "A-150": 34.6, "PC-59": 55.7})
