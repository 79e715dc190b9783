"""CLIPtrase, CLIP ViT-B/16 at 224 pixels, on PC459; nothing is trained."""

_base_ = [
    "../_base_/models/cliptrase_vitb16_224.py",
    "../_base_/datasets/pascal-context-459.py",
    "../_base_/training_free_runtime.py",
]

test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))
train_dataloader = val_dataloader = val_evaluator = None

paper = dict(row="CLIPtrase, ViT-B/16 at 224", printed=dict(pAcc=44.18, mAcc=21.53, fwIoU=35.22, mIoU=9.36))
custom_hooks = [*_base_.custom_hooks, dict(type="PrintedFiguresHook", **paper)]
