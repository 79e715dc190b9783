"""CLIPtrase, CLIP ViT-B/16 at 336 pixels, on PC60; nothing is trained."""

_base_ = [
    "../_base_/models/cliptrase_vitb16_336.py",
    "../_base_/datasets/pascal-context-60.py",
    "../_base_/training_free_runtime.py",
]

test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))

paper = dict(row="CLIPtrase, ViT-B/16 at 336", printed=dict(pAcc=53.21, mAcc=56.43, fwIoU=38.76, mIoU=30.79))
custom_hooks = [*_base_.custom_hooks, dict(type="PrintedFiguresHook", **paper)]
