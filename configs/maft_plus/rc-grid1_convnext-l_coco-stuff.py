"""Representation compensation over grids of 1 regions a side."""

_base_ = ["./rc_convnext-l_coco-stuff.py"]

model = dict(rc=dict(grids=(1,)))
paper = dict(_delete_=True, table="grids", row="{1}", mIoU={"A-847": 13.8, "A-150": 33.9, "PC-59": 56.5})
