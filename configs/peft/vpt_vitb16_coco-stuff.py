"""VPT-Deep: 150 prompts in every block of both towers."""

_base_ = ["../hclip/hclip_vitb16_coco-stuff.py"]

model = dict(backbone=dict(adapter=dict(_delete_=True, type="VPT", length=150)))
paper = dict(
    _delete_=True,
    table="methods of fine-tuning, ViT-B/16",
    row="VPT",
    params=2.2,
    counted="neither length nor towers are printed; 150 prompts a block in both towers give the figure, in Mi "
    "(250 in the image tower alone would too)",
    mIoU={"A-847": 5.7, "PC-459": 10.2, "A-150": 23.7, "PC-59": 54.3, "PAS-20": 93.8, "PAS-20b": 75.1},
)
