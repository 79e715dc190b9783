"""MAFT+, CLIP ConvNeXt-B, for data of your own."""

_base_ = ["./maft-plus_convnext-l.py"]

model = dict(
    backbone=dict(
        clip=dict(
            model="convnext_base_w_320",
            pretrained="pretrained/convnext_base_w_320_laion_aesthetic_s13b_b82k_augreg.bin",
        )
    )
)
