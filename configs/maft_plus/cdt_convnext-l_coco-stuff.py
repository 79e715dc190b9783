"""Content-dependent transfer alone: CLIP stays frozen."""

_base_ = ["./maft-plus_convnext-l_coco-stuff.py"]

model = dict(backbone=dict(frozen_stages=4), rc=None)
paper = dict(
    _delete_=True,
    table="ablation",
    row="+ CDT",
    mIoU={"A-847": 13.3, "A-150": 32.4, "PC-459": 17.2, "PC-59": 55.2, "PAS-20": 94.7},
)
