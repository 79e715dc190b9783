"""Proposals that the ground truth names: what is lost by the masks alone (Fig. 2)."""

_base_ = ["./fisa_vitl14-336_swin-b_coco-panoptic.py"]

model = dict(test_cfg=dict(oracle="classifier"))
paper = dict(
    _delete_=True, table="Fig. 2", row="oracle classifier", figures={"ADE150 PQ": 44.6, "ADE150 mIoU": 60.5}
)
