"""MAFT+: CLIP ConvNeXt-L, 60k iterations on COCO panoptic."""

_base_ = [
    "../_base_/models/maft-plus_convnext-l.py",
    "../_base_/datasets/coco-panoptic-pillow_1024x1024.py",
    "../_base_/schedules/maft-plus_60k.py",
    "../_base_/mask_runtime.py",
]

vocabulary = "coco_panoptic_133@maft-plus"  # as published, in training too
train_dataloader = dict(batch_size=2, dataset=dict(vocabulary=vocabulary))  # on each of 4 processes
val_dataloader = test_dataloader = dict(dataset=dict(vocabulary=vocabulary))
paper = dict(table="panoptic, ADE20K", row="MAFT+", figures={"ADE150 PQ": 27.1, "ADE150 SQ": 73.5, "ADE150 RQ": 32.9})
