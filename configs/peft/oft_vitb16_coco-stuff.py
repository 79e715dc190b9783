"""OFT: blocks of 128 in both towers, orthogonal, all on the input side, without relations."""

_base_ = ["../hclip/hclip_vitb16_coco-stuff.py"]

model = dict(backbone=dict(adapter=dict(_delete_=True, type="OFT", block_size=128)))
paper = dict(
    _delete_=True,
    table="methods of fine-tuning, ViT-B/16",
    row="OFT",
    params=3.8,
    counted="numbers of orthogonal blocks counted half, q^2 / 2 of q^2, in Mi",
    mIoU={"A-847": 10.9, "PC-459": 18.0, "A-150": 30.2, "PC-59": 53.7, "PAS-20": 93.7, "PAS-20b": 74.3},
)
