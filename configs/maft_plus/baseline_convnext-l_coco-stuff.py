"""Baseline: CLIP stays frozen and so do the text embeddings; proposals alone are trained.

With FC-CLIP's 250 queries and thresholds, so that its published weights fit, converted.
"""

_base_ = ["./maft-plus_convnext-l_coco-stuff.py"]

model = dict(
    backbone=dict(frozen_stages=4),
    head=dict(num_queries=250),
    rc=None,
    cdt=None,
    mask_aware_loss=None,
    test_cfg=dict(object_threshold=0.0, overlap_threshold=0.8),
)
# FC-CLIP tests street scenes at a shorter side of 1024
street_scenes = [dict(type="mmseg.PublishedResize", short_side=1024, max_size=2560)]
benchmark_transforms = {
    "_delete_": True,
    "default": [_base_.published_resize],
    "Cityscapes": street_scenes,
    "Mapillary": street_scenes,
    "Mapillary-panoptic": street_scenes,
}
paper = dict(
    _delete_=True,
    table="ablation",
    row="frozen CLIP",
    mIoU={"A-847": 11.2, "A-150": 26.6, "PC-459": 12.7, "PC-59": 42.4, "PAS-20": 89.5},
)
