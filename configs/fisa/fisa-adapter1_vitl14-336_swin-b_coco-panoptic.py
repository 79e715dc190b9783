"""FISA with a Distribution Adapter of 1 convolution."""

_base_ = ["./fisa-10k_vitl14-336_swin-b_coco-panoptic.py"]

model = dict(backbone=dict(distribution_adapter=dict(depth=1)))
paper = dict(
    _delete_=True, table="ablation, 10k iterations", row="distribution adapter 1 layer", figures={"ADE150 PQ": 26.9}
)
