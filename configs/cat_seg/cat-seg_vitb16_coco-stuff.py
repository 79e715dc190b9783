"""CAT-Seg, CLIP ViT-B/16, trained on COCO-Stuff 171."""

_base_ = [
    "../_base_/models/cat-seg_vitb16.py",
    "../_base_/datasets/coco-stuff_384x384.py",
    "../_base_/schedules/schedule_80k.py",
    "../_base_/default_runtime.py",
]

# 171 names: less memory for a twentieth more time
model = dict(backbone=dict(checkpoint_text="auto"))

paper = dict(
    table="main results",
    row="CAT-Seg, ViT-B/16",
    mIoU={"A-847": 12.0, "PC-459": 19.0, "A-150": 31.8, "PC-59": 57.5, "PAS-20": 94.6, "PAS-20b": 77.3},
)
