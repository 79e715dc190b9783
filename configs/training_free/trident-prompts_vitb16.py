"""Trident, its label maps then corrected by asking SAM for every region."""

_base_ = ["./trident_vitb16.py"]

model = dict(
    refinement=dict(
        type="SAMPrompts",
        weights="pretrained/sam_vit_b_01ec64.pth",
        # chosen by its authors for these data sets
        threshold={
            "default": 0.2,
            "A-150": 0.05,
            "COCO-Stuff": 0.05,
            "Cityscapes": 0.1,
            "PC-59": 0.15,
            "PC-60": 0.15,
            "COCO-Object": 0.25,
        },
    ),
)
paper = dict(
    _delete_=True,
    row="Trident, ViT-B/16, DINO B/16, SAM B",
    mIoU={
        "VOC21": 67.1,
        "PC-60": 38.6,
        "COCO-Object": 41.1,
        "PAS-20": 84.5,
        "PC-59": 42.2,
        "COCO-Stuff": 28.3,
        "Cityscapes": 42.9,
        "A-150": 21.9,
    },
)
