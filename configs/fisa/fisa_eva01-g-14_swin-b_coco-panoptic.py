"""FISA on EVA01-g-14-plus, whose image tower is timm's."""

_base_ = ["./fisa-10k_vitl14-336_swin-b_coco-panoptic.py"]

model = dict(
    backbone=dict(clip=dict(model="EVA01-g-14-plus", pretrained="pretrained/EVA01-g-14-plus_merged2b_s11b_b114k.pt"))
)
paper = dict(
    _delete_=True,
    table="ablation, 10k iterations",
    row="EVA01-g-14-plus",
    figures={"ADE150 PQ": 26.9, "ADE150 mIoU": 36.4},
)
