"""MAFT+ as its code was published, on ConvNeXt-B: for published checkpoints, converted.

The figures are the paper's. The authors' README gives for the weights that they publish A-847 13.8, A-150 34.6, PC-459
16.2, PC-59 57.5 and PAS-20 95.4.
"""

_base_ = ["./maft-plus_convnext-b_coco-stuff.py"]

model = dict(
    cdt=dict(_delete_=True, type="semantic", heads=8),
    rc=dict(type="published"),
    mask_aware_loss=dict(type="published"),
)
paper = dict(
    _delete_=True,
    table="main results",
    row="MAFT+ (ConvNeXt-B)",
    mIoU={"A-847": 13.2, "A-150": 33.6, "PC-459": 14.2, "PC-59": 55.9, "PAS-20": 93.9},
)
