"""FISA with the text tower trained as well."""

_base_ = ["./fisa-10k_vitl14-336_swin-b_coco-panoptic.py"]

model = dict(backbone=dict(train_text=True, checkpoint_blocks=True))
paper = dict(
    _delete_=True, table="ablation, 10k iterations", row="language encoder adapted too", figures={"ADE150 PQ": 24.6}
)
