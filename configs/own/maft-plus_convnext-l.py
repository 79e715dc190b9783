"""MAFT+, CLIP ConvNeXt-L, for data of your own: `hclip-new-dataset` puts it in the place of COCO-Stuff."""

_base_ = [
    "../_base_/models/maft-plus_convnext-l.py",
    "../_base_/datasets/coco-stuff-masks_800.py",
    "../_base_/schedules/maft-plus_60k.py",
    "../_base_/mask_runtime.py",
]

model = dict(data_preprocessor=dict(batch_augments=None), test_cfg=dict(panoptic=False))
