"""FISA on CLIP ViT-B/16."""

_base_ = ["./fisa-10k_vitl14-336_swin-b_coco-panoptic.py"]

model = dict(backbone=dict(clip=dict(model="ViT-B-16-quickgelu", pretrained="pretrained/ViT-B-16.pt")))
paper = dict(
    _delete_=True, table="ablation, 10k iterations", row="ViT-B-16", figures={"ADE150 PQ": 25.7, "ADE150 mIoU": 34.1}
)
