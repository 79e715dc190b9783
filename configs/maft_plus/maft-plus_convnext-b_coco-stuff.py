"""MAFT+ on ConvNeXt-B."""

_base_ = ["./maft-plus_convnext-l_coco-stuff.py"]

model = dict(
    backbone=dict(
        clip=dict(
            model="convnext_base_w_320",
            pretrained="pretrained/convnext_base_w_320_laion_aesthetic_s13b_b82k_augreg.bin",
        )
    )
)
paper = dict(
    _delete_=True,
    table="main results",
    row="MAFT+ (ConvNeXt-B)",
    mIoU={"A-847": 13.2, "A-150": 33.6, "PC-459": 14.2, "PC-59": 55.9, "PAS-20": 93.9},
)
