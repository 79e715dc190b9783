"""FISA: CLIP ViT-L/14-336, proposals of Mask2Former with Swin-B, 25k iterations on COCO panoptic."""

_base_ = [
    "../_base_/models/fisa_vitl14-336.py",
    "../_base_/datasets/coco-panoptic_1024x1024.py",
    "../_base_/schedules/fisa_25k.py",
    "../_base_/mask_runtime.py",
]

paper = dict(
    table="main results",
    row="FISA",
    params=26,
    figures={
        "COCO PQ": 56.4,
        "COCO mIoU": 67.1,
        "ADE150 PQ": 28.1,
        "ADE150 mIoU": 36.8,
        "Mapillary PQ": 19.0,
        "Mapillary mIoU": 29.7,
        "ADE847 mIoU": 16.1,
        "PC59 mIoU": 62.4,
        "PC459 mIoU": 23.6,
    },
)
