"""Plain CLIP's patches, the last block as it is."""

_base_ = ["../_base_/training_free_vitb16.py"]

paper = dict(
    row="CLIP, ViT-B/16, as Trident prints it",
    mIoU={
        "VOC21": 16.4,
        "PC-60": 8.4,
        "COCO-Object": 5.6,
        "PAS-20": 41.9,
        "PC-59": 9.2,
        "COCO-Stuff": 4.4,
        "Cityscapes": 5,
        "A-150": 2.9,
    },
)
