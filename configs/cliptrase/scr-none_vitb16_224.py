"""Patches alone, by CLIP's own last attention: the row without self-correlation recovery (SCR)."""

_base_ = ["./cliptrase_vitb16_224.py"]

model = dict(backbone=dict(attention="clip"), regions=None)
paper = dict(
    _delete_=True,
    table="self-correlation",
    row="without SCR",
    mIoU={"PAS-20": 67.77, "A-150": 3.01, "COCO-Stuff": 5.4, "PC-59": 10.85},
)
