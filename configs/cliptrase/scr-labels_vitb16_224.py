"""Patches alone, by cosines with patches of the same region of the ground truth: a bound."""

_base_ = ["./cliptrase_vitb16_224.py"]

model = dict(backbone=dict(similarity="cosine"), reach="labels", regions=None)
paper = dict(
    _delete_=True,
    table="self-correlation",
    row="cos, j within GT",
    mIoU={"PAS-20": 77.71, "A-150": 16.5, "COCO-Stuff": 22.57, "PC-59": 33.89},
)
