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
