"""LST: a side network beside each tower. Positional embeddings stay frozen, so that no gradient enters the towers."""

_base_ = ["../hclip/hclip_vitb16_coco-stuff.py"]

model = dict(
    backbone=dict(
        adapter=dict(_delete_=True, type="LST", image_side=256, text_side=224),
    )
)
paper = dict(
    _delete_=True,
    table="methods of fine-tuning, ViT-B/16",
    row="LST",
    params=19.8,
    counted="no widths are printed; side widths 256 and 224 give the figure, in Mi",
    mIoU={"A-847": 7.2, "PC-459": 12.7, "A-150": 27.0, "PC-59": 56.8, "PAS-20": 95.4, "PAS-20b": 76.3},
)
