"""Baseline + SEVE + full tuning: all of CLIP's image tower is trained."""

_base_ = ["./fisa-10k_vitl14-336_swin-b_coco-panoptic.py"]

model = dict(backbone=dict(tuning="full", checkpoint_blocks=True))
paper = dict(
    _delete_=True, table="ablation, 10k iterations", row="+ SEVE, CLIP fully adapted", figures={"ADE150 PQ": 14.9}
)
