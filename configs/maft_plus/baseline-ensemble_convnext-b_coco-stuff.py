"""FC-CLIP's ensemble on ConvNeXt-B: CLIP stays frozen, scores are the geometric mean of the head's and CLIP's."""

_base_ = ["./baseline-ensemble_convnext-l_coco-stuff.py"]

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
    row="FC-CLIP with ensemble (ConvNeXt-B)",
    mIoU={"A-847": 12.7, "A-150": 31.1, "PC-459": 12.5, "PC-59": 54.3, "PAS-20": 93.8},
)
