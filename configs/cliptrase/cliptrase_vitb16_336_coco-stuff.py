"""CLIPtrase, CLIP ViT-B/16 at 336 pixels, on COCO-Stuff; nothing is trained."""

_base_ = [
    "../_base_/models/cliptrase_vitb16_336.py",
    "../_base_/datasets/coco-stuff_384x384.py",
    "../_base_/training_free_runtime.py",
]

test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))
train_dataloader = val_dataloader = val_evaluator = None

paper = dict(row="CLIPtrase, ViT-B/16 at 336", printed=dict(pAcc=40.14, mAcc=45.09, fwIoU=27.96, mIoU=24.06))
custom_hooks = [*_base_.custom_hooks, dict(type="PrintedFiguresHook", **paper)]
