"""Baseline + SEVE: CLIP stays frozen."""

_base_ = ["./fisa-10k_vitl14-336_swin-b_coco-panoptic.py"]

model = dict(backbone=dict(tuning="none"))
paper = dict(_delete_=True, table="ablation, 10k iterations", row="+ SEVE", figures={"ADE150 PQ": 18.9})
