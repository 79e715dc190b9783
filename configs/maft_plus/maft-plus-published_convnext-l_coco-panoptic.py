"""MAFT+ for panoptic segmentation as its code was published: for published checkpoints, converted."""

_base_ = ["./maft-plus_convnext-l_coco-panoptic.py"]

model = dict(
    cdt=dict(_delete_=True, type="panoptic", heads=8),
    rc=dict(type="published"),
    mask_aware_loss=dict(type="published"),
)
paper = dict(
    _delete_=True,
    table="panoptic, ADE20K",
    row="MAFT+",
    figures={"ADE150 PQ": 27.1, "ADE150 SQ": 73.5, "ADE150 RQ": 32.9},
)
