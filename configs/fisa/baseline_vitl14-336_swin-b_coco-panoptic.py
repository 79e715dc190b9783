"""Baseline: mask tokens of frozen CLIP, which know nothing of the names; the void embedding alone is trained."""

_base_ = ["./fisa-10k_vitl14-336_swin-b_coco-panoptic.py"]

model = dict(backbone=dict(seve=None, distribution_adapter=None, tuning="none"))
paper = dict(_delete_=True, table="ablation, 10k iterations", row="baseline", figures={"ADE150 PQ": 9.6})
