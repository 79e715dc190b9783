"""Patches alone, each of which attends to itself."""

_base_ = ["./cliptrase_vitb16_224.py"]

model = dict(reach="own", regions=None)
paper = dict(
    _delete_=True,
    table="self-correlation",
    row="<x_i,x_i>",
    mIoU={"PAS-20": 62.69, "A-150": 11.55, "COCO-Stuff": 16.4, "PC-59": 25.11},
)
