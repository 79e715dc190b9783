"""CorrCLIP with DINO ViT-B/8 and regions from a folder, by its own protocol; its figures are of MetaCLIP and SAM 2."""

_base_ = ["../_base_/training_free_vitb16.py"]

benchmark_style = "proxyclip"
regions = dict(type="RegionFolder", folder="data/regions", on_top="larger")  # as published
model = dict(
    backbone=dict(
        attention=dict(
            type="RegionScope",
            features=dict(
                type="TimmPatchFeatures",
                model="vit_base_patch8_224.dino",
                weights="pretrained/dino_vitb8.pth",
            ),
            regions=regions,
        ),
    ),
    protocol=dict(type="corrclip"),
    refinement=regions,
)
paper = dict(
    row="CorrCLIP, MetaCLIP ViT-B/16, DINO B/8, masks of SAM 2",
    mIoU={
        "VOC21": 74.8,
        "PC-60": 44.2,
        "COCO-Object": 43.7,
        "PAS-20": 88.8,
        "PC-59": 48.8,
        "COCO-Stuff": 31.6,
        "Cityscapes": 49.4,
        "A-150": 26.9,
    },
)
