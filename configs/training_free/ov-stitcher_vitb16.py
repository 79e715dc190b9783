"""OV-Stitcher with DINO ViT-B/8 and regions from a folder, without its class-biased templates; by its own protocol."""

_base_ = ["./corrclip_vitb16.py"]

model = dict(backbone=dict(attention=dict(type="StitchedScope")), protocol=dict(type="ov-stitcher"))
paper = dict(
    row="OV-Stitcher, ViT-B/16, DINO B/8, masks, class-biased templates",
    mIoU={
        "VOC21": 75.7,
        "PC-60": 43.9,
        "COCO-Object": 42.6,
        "PAS-20": 89.8,
        "PC-59": 48.8,
        "COCO-Stuff": 31.8,
        "Cityscapes": 48.1,
        "A-150": 24.7,
    },
)
