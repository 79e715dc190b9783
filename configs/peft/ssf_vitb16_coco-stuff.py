"""SSF: a scale and a shift behind every operation of both towers."""

_base_ = ["../hclip/hclip_vitb16_coco-stuff.py"]

model = dict(backbone=dict(adapter=dict(_delete_=True, type="SSF")))
# the last image block is used without its attention, so the scales and shifts of its q and k never get a gradient
find_unused_parameters = True
paper = dict(
    _delete_=True,
    table="methods of fine-tuning, ViT-B/16",
    row="SSF",
    params=0.6,
    counted="does not follow: a scale and a shift behind each norm, projection and MLP layer of both towers are "
    "0.33 Mi",
    mIoU={"A-847": 6.9, "PC-459": 15.2, "A-150": 28.6, "PC-59": 52.1, "PAS-20": 93.2, "PAS-20b": 72.8},
)
