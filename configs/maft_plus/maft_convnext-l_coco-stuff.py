"""MAFT, the method before MAFT+: the image tower is tuned while its scores of whole images stay near CLIP's."""

_base_ = ["./maft-plus_convnext-l_coco-stuff.py"]

model = dict(cdt=None, rc=None, distillation=dict(weight=0.1), mask_aware_loss=dict(type="published"))
paper = dict(
    _delete_=True,
    table="main results",
    row="MAFT (ConvNeXt-L)",
    mIoU={"A-847": 13.1, "A-150": 34.4, "PC-459": 17.0, "PC-59": 57.5, "PAS-20": 93.0},
)
