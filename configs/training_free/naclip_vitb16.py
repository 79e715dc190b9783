"""NACLIP: self-attention of keys with a window of neighbours, by its own protocol."""

_base_ = ["../_base_/training_free_vitb16.py"]

model = dict(backbone=dict(attention=dict(type="naclip")), protocol=dict(type="naclip"))
paper = dict(
    row="NACLIP, ViT-B/16, without PAMR",
    mIoU={
        "VOC21": 58.9,
        "PC-60": 32.2,
        "COCO-Object": 33.2,
        "PAS-20": 79.7,
        "PC-59": 35.2,
        "COCO-Stuff": 23.3,
        "Cityscapes": 35.5,
        "A-150": 17.4,
    },
)
