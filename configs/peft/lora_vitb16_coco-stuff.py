"""LoRA of rank 64 on q, k, v and out of both towers."""

_base_ = ["../hclip/hclip_vitb16_coco-stuff.py"]

model = dict(backbone=dict(adapter=dict(_delete_=True, type="LoRA", rank=64)))
# the last image block is used without its attention, so LoRA of its q and k never gets a gradient
find_unused_parameters = True
paper = dict(
    _delete_=True,
    table="methods of fine-tuning, ViT-B/16",
    row="LoRA",
    params=7.5,
    counted="the rank is not printed; 64 on q, k, v and out of both towers gives the figure, in Mi (2^20)",
    mIoU={"A-847": 11.4, "PC-459": 17.6, "A-150": 28.6, "PC-59": 55.1, "PAS-20": 94.2, "PAS-20b": 76.7},
)
