"""CLIPtrase with regions of inner products in the place of cosines."""

_base_ = ["./cliptrase_vitb16_224.py"]

model = dict(backbone=dict(correlation=dict(similarity="inner")))
paper = dict(
    _delete_=True,
    table="self-correlation",
    row="CLIPtrase, inner product",
    mIoU={"PAS-20": 63.55, "A-150": 7.49, "COCO-Stuff": 12.64, "PC-59": 19.94},
)
