"""ProxyCLIP with DINO ViT-B/8, by its own protocol."""

_base_ = ["../_base_/training_free_vitb16.py"]

benchmark_style = "proxyclip"
model = dict(
    backbone=dict(
        attention=dict(
            type="ProxyAttention",
            features=dict(
                type="TimmPatchFeatures", model="vit_base_patch8_224.dino", weights="pretrained/dino_vitb8.pth"
            ),
        ),
    ),
    protocol=dict(type="proxyclip"),
)
paper = dict(
    row="ProxyCLIP, ViT-B/16 and DINO B/8",
    mIoU={
        "VOC21": 61.3,
        "PC-60": 35.3,
        "COCO-Object": 37.5,
        "PAS-20": 80.3,
        "PC-59": 39.1,
        "COCO-Stuff": 26.5,
        "Cityscapes": 38.1,
        "A-150": 20.2,
    },
)
