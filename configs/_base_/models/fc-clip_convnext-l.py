"""FC-CLIP on open_clip's ConvNeXt-L at 320: CLIP stays frozen and so do the text embeddings, proposals are trained."""

_base_ = ["./maft-plus_convnext-l.py"]

model = dict(
    backbone=dict(frozen_stages=4),
    head=dict(num_queries=250),
    rc=None,
    cdt=None,
    mask_aware_loss=None,
    test_cfg=dict(object_threshold=0.0, overlap_threshold=0.8),
)
# street scenes are tested at a shorter side of 1024; for `benchmark_transforms`
street_scenes = [dict(type="mmseg.PublishedResize", short_side=1024, max_size=2560)]
fc_clip_transforms = {
    "default": [dict(type="mmseg.PublishedResize", short_side=800, max_size=1333)],
    "Cityscapes": street_scenes,
    "Mapillary": street_scenes,
    "Mapillary-panoptic": street_scenes,
}
