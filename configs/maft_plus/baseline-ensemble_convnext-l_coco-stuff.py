"""The baseline with FC-CLIP's ensemble of the proposal head's scores and CLIP's."""

_base_ = ["./baseline_convnext-l_coco-stuff.py"]

benchmark_style = "fc-clip"
model = dict(ensemble=dict(alpha=0.4, beta=0.8, trained="coco_stuff_171@fc-clip"))
paper = dict(
    _delete_=True,
    table="main results",
    row="FC-CLIP with ensemble (trained on COCO panoptic)",
    mIoU={"A-847": 14.8, "A-150": 34.0, "PC-459": 18.2, "PC-59": 58.4, "PAS-20": 95.4},
)
