"""MAFT+ as its code was published, on ConvNeXt-B: for published checkpoints, converted."""

_base_ = ["./maft-plus_convnext-b_coco-stuff.py"]

model = dict(cdt=dict(_delete_=True, type="semantic", heads=8), rc=dict(type="published"))
paper = dict(
    _delete_=True,
    table="main results",
    row="MAFT+ (ConvNeXt-B)",
    mIoU={"A-847": 13.2, "A-150": 33.6, "PC-459": 14.2, "PC-59": 55.9, "PAS-20": 93.9},
)
