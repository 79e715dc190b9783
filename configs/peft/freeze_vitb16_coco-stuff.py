"""Frozen CLIP under the trained head: the H-CLIP paper's row Freeze."""

_base_ = ["../hclip/hclip_vitb16_coco-stuff.py"]

model = dict(backbone=dict(adapter=None))
paper = dict(
    _delete_=True,
    table="methods of fine-tuning, ViT-B/16",
    row="Freeze",
    params=0,
    mIoU={"A-847": 4.4, "PC-459": 6.6, "A-150": 24.8, "PC-59": 49.4, "PAS-20": 92.5, "PAS-20b": 71.9},
)
