"""CAT-Seg, CLIP ViT-B/16, trained on COCO-Stuff 171."""

_base_ = [
    "../_base_/models/cat-seg_vitb16.py",
    "../_base_/datasets/coco-stuff_384x384.py",
    "../_base_/schedules/schedule_80k.py",
    "../_base_/default_runtime.py",
]
