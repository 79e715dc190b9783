"""Patches alone, by self-correlation of inner products."""

_base_ = ["./cliptrase_vitb16_224.py"]

model = dict(regions=None)
paper = dict(
    _delete_=True,
    table="self-correlation",
    row="<x_i,x_j>",
    mIoU={"PAS-20": 75.61, "A-150": 15.58, "COCO-Stuff": 21.39, "PC-59": 32.13},
)
