"""Text embeddings changed by an MLP that does not see the image, in the place of content-dependent transfer."""

_base_ = ["./maft-plus_convnext-l_coco-stuff.py"]

model = dict(backbone=dict(frozen_stages=4), rc=None, cdt=dict(_delete_=True, type="mlp"))
paper = dict(
    _delete_=True,
    table="ablation",
    row="text MLP",
    mIoU={"A-847": 4.1, "A-150": 20.2, "PC-459": 11.2, "PC-59": 51.4, "PAS-20": 89.4},
)
