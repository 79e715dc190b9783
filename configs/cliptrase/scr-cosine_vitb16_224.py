"""Patches alone, by self-correlation of cosines."""

_base_ = ["./cliptrase_vitb16_224.py"]

model = dict(backbone=dict(similarity="cosine"), regions=None)
paper = dict(
    _delete_=True,
    table="self-correlation",
    row="cos(x_i,x_j)",
    mIoU={"PAS-20": 77.58, "A-150": 15.79, "COCO-Stuff": 21.82, "PC-59": 32.55},
)
