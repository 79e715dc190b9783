"""The frozen row on CLIM's weights: a CLIP ViT-B/16 fine-tuned for regions. Any CLIP checkpoint can stand there."""

_base_ = ["./frozen_vitb16_ov-coco.py"]

# a checkpoint of open_clip's training; give another one with --cfg-options model.backbone.clip.pretrained=PATH
model = dict(backbone=dict(clip=dict(pretrained="pretrained/clim_vitb16.pt", quick_gelu=True)))
# the paper's; CLIM's README gives 29.7 of novel names for its released weights
paper = dict(row="CLIM", AP50=dict(novel=25.7, base=42.5))
val_evaluator = dict(paper=paper["AP50"])
test_evaluator = val_evaluator
