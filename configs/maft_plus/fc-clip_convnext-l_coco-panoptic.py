"""FC-CLIP, which MAFT+ builds on: frozen CLIP ConvNeXt-L, proposals trained on COCO panoptic as its code does.

The figures are those of the authors' README, which belong to the weights that they publish; SQ and RQ are printed in
MAFT+'s panoptic table alone.
"""

_base_ = [
    "../_base_/models/fc-clip_convnext-l.py",
    "../_base_/datasets/coco-panoptic-pillow_1024x1024.py",
    "../_base_/schedules/fc-clip_369k.py",
    "../_base_/mask_runtime.py",
]

benchmark_style = "fc-clip"
vocabulary = "coco_panoptic_133@fc-clip"  # as published, in training too
model = dict(ensemble=dict(alpha=0.4, beta=0.8, trained=vocabulary))
train_dataloader = dict(dataset=dict(vocabulary=vocabulary))  # 2 images on each of 8 processes
val_dataloader = test_dataloader = dict(dataset=dict(vocabulary=vocabulary))
benchmark_transforms = {"_delete_": True, **_base_.fc_clip_transforms}
paper = dict(
    table="FC-CLIP's README",
    row="FC-CLIP (ConvNeXt-L)",
    figures={
        "COCO PQ": 54.4,
        "COCO mIoU": 63.7,
        "ADE150 PQ": 26.8,
        "ADE150 SQ": 71.5,
        "ADE150 RQ": 32.2,
        "ADE150 mIoU": 34.1,
        "Mapillary PQ": 18.3,
        "Mapillary mIoU": 27.8,
        "ADE847 mIoU": 14.8,
        "PC59 mIoU": 58.4,
        "PC459 mIoU": 18.2,
    },
)
