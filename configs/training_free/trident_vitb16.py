"""Trident with DINO ViT-B/16 and SAM ViT-B: tokens of all windows joined by SAM's attention; by its own protocol."""

_base_ = ["./proxyclip_vitb16.py"]

sam = "pretrained/sam_vit_b_01ec64.pth"
model = dict(
    backbone=dict(
        attention=dict(
            features=dict(model="vit_base_patch16_224.dino", weights="pretrained/dino_vitb16.pth"), together=True
        ),
    ),
    protocol=dict(type="trident"),
    windowed=dict(
        stitch=True,
        windows_at_once=64,  # all of an image
        aggregation=dict(
            type="SAMAggregation",
            weights=sam,
            # chosen by its authors for these data sets
            factor={"default": 1.2, "Cityscapes": 3.0, "PAS-20": 0.0},
            negative={"A-150": 0.6, "Cityscapes": 0.6},
            strips={"default": 1, "Cityscapes": 2},
        ),
    ),
)
paper = None
