"""ADE20K panoptic, validation: 100 things and 50 stuff, their words as ADE20K gives them."""

_base_ = ["./whole_panoptic.py"]

test_dataloader = dict(
    dataset=dict(
        data_root="data/ade/ADEChallengeData2016",
        ann_file="ade20k_panoptic_val.json",
        data_prefix=dict(img="images/validation/", seg="ade20k_panoptic_val/"),
    ),
)
val_dataloader = test_dataloader
test_cfg, val_cfg = dict(type="TestLoop"), dict(type="ValLoop")
