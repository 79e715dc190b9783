"""POP without relations: the H-CLIP paper's row POP only."""

_base_ = ["./hclip_vitb16_coco-stuff.py"]

model = dict(backbone=dict(adapter=dict(relation=None)))
paper = dict(
    _delete_=True,
    table="methods of fine-tuning, ViT-B/16",
    row="POP only",
    params=5.62,
    counted="the mean of all blocks free (7.50 Mi) and all blocks orthogonal, counted half (3.75 Mi); block by "
    "block, 288 free and 192 orthogonal, it is 6.00 Mi",
    mIoU={"A-847": 12.3, "PC-459": 19.0, "A-150": 31.6, "PC-59": 56.4, "PAS-20": 94.6, "PAS-20b": 76.3},
)
