"""CLIPtrase, CLIP ViT-B/16 at 224 pixels, on PC59; nothing is trained."""

_base_ = [
    "../_base_/models/cliptrase_vitb16_224.py",
    "../_base_/datasets/pascal-context-59.py",
    "../_base_/training_free_runtime.py",
]

test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))

paper = dict(row="CLIPtrase, ViT-B/16 at 224", printed=dict(pAcc=58.94, mAcc=57.08, fwIoU=45.28, mIoU=33.83))
custom_hooks = [*_base_.custom_hooks, dict(type="PrintedFiguresHook", **paper)]
