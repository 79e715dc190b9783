"""ClearCLIP: self-attention of queries, no residual, no MLP; by its own protocol."""

_base_ = ["../_base_/training_free_vitb16.py"]

benchmark_style = "clearclip"
model = dict(backbone=dict(attention=dict(type="clearclip")), protocol=dict(type="clearclip"))
paper = dict(
    row="ClearCLIP, ViT-B/16",
    mIoU={
        "VOC21": 51.8,
        "PC-60": 32.6,
        "COCO-Object": 33,
        "PAS-20": 80.9,
        "PC-59": 35.9,
        "COCO-Stuff": 23.9,
        "Cityscapes": 30,
        "A-150": 16.7,
    },
)
