"""CLIPtrase, CLIP ViT-B/16 at 336 pixels, on ADEfull; nothing is trained."""

_base_ = [
    "../_base_/models/cliptrase_vitb16_336.py",
    "../_base_/datasets/ade20k-847.py",
    "../_base_/training_free_runtime.py",
]

test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))
train_dataloader = val_dataloader = val_evaluator = None

paper = dict(row="CLIPtrase, ViT-B/16 at 336", printed=dict(pAcc=26.73, mAcc=17.99, fwIoU=20.3, mIoU=5.89))
custom_hooks = [*_base_.custom_hooks, dict(type="PrintedFiguresHook", **paper)]
