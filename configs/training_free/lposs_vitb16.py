"""LPOSS: MaskCLIP's scores spread over the patches of all windows, by SCLIP's protocol."""

_base_ = ["../_base_/training_free_vitb16.py"]

model = dict(
    backbone=dict(attention=dict(type="value")),
    windowed=dict(
        propagation=dict(
            type="LabelPropagation",
            features=dict(
                type="TimmPatchFeatures", model="vit_base_patch16_224.dino", weights="pretrained/dino_vitb16.pth"
            ),
        ),
    ),
)
paper = dict(
    row="LPOSS, ViT-B/16 and DINO B/16, its own protocol",
    mIoU={
        "VOC21": 61.1,
        "PC-60": 34.6,
        "COCO-Object": 33.4,
        "PAS-20": 78.8,
        "PC-59": 37.8,
        "COCO-Stuff": 25.9,
        "Cityscapes": 37.3,
        "A-150": 21.8,
    },
)
