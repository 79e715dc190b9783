"""Masks of the ground truth, which FISA names: what is lost by the names alone (Fig. 2)."""

_base_ = ["./fisa_vitl14-336_swin-b_coco-panoptic.py"]

model = dict(test_cfg=dict(oracle="generator"))
paper = dict(_delete_=True, table="Fig. 2", row="oracle generator")
