"""CLIPtrase, CLIP ViT-B/16 at 224 pixels, on ADEfull; nothing is trained."""

_base_ = [
    "../_base_/models/cliptrase_vitb16_224.py",
    "../_base_/datasets/ade20k-847.py",
    "../_base_/training_free_runtime.py",
]

test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))
train_dataloader = val_dataloader = val_evaluator = None

paper = dict(row="CLIPtrase, ViT-B/16 at 224", printed=dict(pAcc=25.45, mAcc=18.78, fwIoU=18.99, mIoU=6.31))
custom_hooks = [*_base_.custom_hooks, dict(type="PrintedFiguresHook", **paper)]
