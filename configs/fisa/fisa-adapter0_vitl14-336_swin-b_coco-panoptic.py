"""FISA with a Distribution Adapter of 0 convolutions."""

_base_ = ["./fisa-10k_vitl14-336_swin-b_coco-panoptic.py"]

model = dict(backbone=dict(distribution_adapter=dict(depth=0)))
paper = dict(
    _delete_=True, table="ablation, 10k iterations", row="distribution adapter 0 layers", figures={"ADE150 PQ": 26.7}
)
