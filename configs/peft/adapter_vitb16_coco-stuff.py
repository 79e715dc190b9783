"""Adapter (Houlsby et al.): bottlenecks of 128 behind attention and MLP of every block of both towers."""

_base_ = ["../hclip/hclip_vitb16_coco-stuff.py"]

model = dict(backbone=dict(adapter=dict(_delete_=True, type="HoulsbyAdapter", bottleneck=128)))
paper = dict(
    _delete_=True,
    table="methods of fine-tuning, ViT-B/16",
    row="Adapter",
    params=7.5,
    counted="the bottleneck is not printed; 128, twice a block in both towers, gives the figure, in Mi",
    mIoU={"A-847": 10.4, "PC-459": 16.5, "A-150": 28.8, "PC-59": 54.9, "PAS-20": 94.2, "PAS-20b": 75.2},
)
