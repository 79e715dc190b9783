"""H-CLIP, CLIP ViT-B/16, for data of your own: `hclip-new-dataset` puts it in the place of COCO-Stuff."""

_base_ = [
    "../_base_/models/hclip_vitb16.py",
    "../_base_/datasets/coco-stuff_384x384.py",
    "../_base_/schedules/schedule_80k.py",
    "../_base_/default_runtime.py",
]
