"""MaskCLIP: the last block's values alone."""

_base_ = ["../_base_/training_free_vitb16.py"]

model = dict(backbone=dict(attention=dict(type="value")))
paper = dict(
    row="MaskCLIP, ViT-B/16, as Trident prints it",
    mIoU={
        "VOC21": 43.4,
        "PC-60": 23.2,
        "COCO-Object": 20.6,
        "PAS-20": 74.9,
        "PC-59": 26.4,
        "COCO-Stuff": 16.7,
        "Cityscapes": 24.9,
        "A-150": 11.9,
    },
)
