"""MAFT+ as its code was published, on ConvNeXt-L: for published checkpoints, converted."""

_base_ = ["./maft-plus_convnext-l_coco-stuff.py"]

max_iters = 55000  # ConvNeXt-B: 60,000
# end: one more than the iterations, as MMEngine counts steps to the last value
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)]
train_cfg = dict(max_iters=max_iters)

model = dict(
    cdt=dict(_delete_=True, type="semantic", heads=8),
    rc=dict(type="published"),
    mask_aware_loss=dict(type="published"),
)
paper = dict(
    _delete_=True,
    table="main results",
    row="MAFT+ (ConvNeXt-L)",
    mIoU={"A-847": 15.1, "A-150": 36.1, "PC-459": 21.6, "PC-59": 59.4, "PAS-20": 96.5},
)
