"""FISA, CLIP ViT-B/16, for data of your own: a mask for every class in an image.

The mask generator is the published one, trained on COCO panoptic and kept as it is; see docs/fisa.md.
"""

_base_ = [
    "../_base_/models/fisa_vitl14-336.py",
    "../_base_/datasets/coco-stuff-masks_800.py",
    "../_base_/schedules/fisa_25k.py",
    "../_base_/mask_runtime.py",
]

model = dict(
    data_preprocessor=dict(batch_augments=None),
    backbone=dict(clip=dict(model="ViT-B-16-quickgelu", pretrained="pretrained/ViT-B-16.pt")),
)
