"""SCLIP: correlative self-attention, by its own protocol."""

_base_ = ["../_base_/training_free_vitb16.py"]

model = dict(backbone=dict(attention=dict(type="sclip")))
paper = dict(
    row="SCLIP, ViT-B/16, its repository",
    mIoU={
        "VOC21": 59.63,
        "PC-60": 31.74,
        "COCO-Object": 33.52,
        "PAS-20": 81.54,
        "PC-59": 34.46,
        "COCO-Stuff": 22.77,
        "Cityscapes": 32.34,
        "A-150": 16.45,
    },
)
