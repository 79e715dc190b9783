"""Representation compensation alone: CLIP is tuned, text embeddings stay as they are."""

_base_ = ["./maft-plus_convnext-l_coco-stuff.py"]

model = dict(cdt=None)
paper = dict(
    _delete_=True,
    table="ablation; freezing; grids",
    row="+ RC; no stage frozen; {1, 2, 4}",
    mIoU={"A-847": 14.6, "A-150": 34.8, "PC-459": 18.2, "PC-59": 57.1, "PAS-20": 95.3},
)
