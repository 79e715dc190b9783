"""DCRC without POP: only the relation is trained, the adapter tensor stays where it starts (see DCRC)."""

_base_ = ["./hclip_vitb16_coco-stuff.py"]

model = dict(backbone=dict(adapter=dict(_delete_=True, type="DCRC", block_size=128, relation=dict(type="linear"))))
paper = dict(
    _delete_=True,
    table="methods of fine-tuning, ViT-B/16",
    row="DCRC only",
    params=0.01,
    counted="the paper does not say what is trained; the relation alone is 3,504 numbers (mlp: 4,928), 0.003 Mi "
    "(0.005)",
    mIoU={"A-847": 7.6, "PC-459": 10.9, "A-150": 26.8, "PC-59": 53.6, "PAS-20": 92.7, "PAS-20b": 74.5},
)
