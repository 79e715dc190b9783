"""Baseline: CLIP stays frozen and so do the text embeddings; proposals alone are trained, as MAFT+ trains them.

With FC-CLIP's 250 queries and thresholds, so that its published weights fit, converted.
"""

_base_ = [
    "../_base_/models/fc-clip_convnext-l.py",
    "../_base_/datasets/coco-stuff-masks_800.py",
    "../_base_/schedules/maft-plus_60k.py",
    "../_base_/mask_runtime.py",
]

model = dict(data_preprocessor=dict(batch_augments=None), test_cfg=dict(panoptic=False))
benchmark_transforms = {"_delete_": True, **_base_.fc_clip_transforms}
paper = dict(
    table="ablation",
    row="frozen CLIP",
    mIoU={"A-847": 11.2, "A-150": 26.6, "PC-459": 12.7, "PC-59": 42.4, "PAS-20": 89.5},
)
