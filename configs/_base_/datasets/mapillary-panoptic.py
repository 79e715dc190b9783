"""Mapillary Vistas 1.2 panoptic, validation: 37 things and 28 stuff."""

_base_ = ["./whole_panoptic.py"]

test_dataloader = dict(
    dataset=dict(
        vocabulary="mapillary_panoptic_65",
        data_root="data/mapillary",
        ann_file="validation/v1.2/panoptic/panoptic_2018.json",
        data_prefix=dict(img="validation/images/", seg="validation/v1.2/panoptic/"),
    ),
)
val_dataloader = test_dataloader
test_cfg, val_cfg = dict(type="TestLoop"), dict(type="ValLoop")
