"""MAFT+: CLIP ConvNeXt-L, 60k iterations on COCO-Stuff."""

_base_ = [
    "../_base_/models/maft-plus_convnext-l.py",
    "../_base_/datasets/coco-stuff-masks_800.py",
    "../_base_/schedules/maft-plus_60k.py",
    "../_base_/mask_runtime.py",
]

model = dict(data_preprocessor=dict(batch_augments=None), test_cfg=dict(panoptic=False))
paper = dict(
    table="main results; ablation",
    row="MAFT+ (ConvNeXt-L); + CDT and RC",
    mIoU={"A-847": 15.1, "A-150": 36.1, "PC-459": 21.6, "PC-59": 59.4, "PAS-20": 96.5},
)
