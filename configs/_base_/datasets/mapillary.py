"""Mapillary Vistas, 65 classes of version 1.2."""

_base_ = ["whole_images.py"]

test_dataloader = dict(
    dataset=dict(
        type="mmseg.Mapillary65Dataset",
        data_root="data/mapillary",
        data_prefix=dict(img_path="validation/images", seg_map_path="validation/v1.2/labels"),
    ),
)
