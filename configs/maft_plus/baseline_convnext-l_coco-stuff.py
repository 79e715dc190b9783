"""Baseline: CLIP stays frozen and so do the text embeddings; proposals alone are trained."""

_base_ = ["./maft-plus_convnext-l_coco-stuff.py"]

model = dict(backbone=dict(frozen_stages=4), rc=None, cdt=None, mask_aware_loss=None)
paper = dict(
    _delete_=True,
    table="ablation",
    row="frozen CLIP",
    mIoU={"A-847": 11.2, "A-150": 26.6, "PC-459": 12.7, "PC-59": 42.4, "PAS-20": 89.5},
)
