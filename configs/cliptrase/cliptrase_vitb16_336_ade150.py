"""CLIPtrase, CLIP ViT-B/16 at 336 pixels, on ADE150; nothing is trained."""

_base_ = [
    "../_base_/models/cliptrase_vitb16_336.py",
    "../_base_/datasets/ade20k-150.py",
    "../_base_/training_free_runtime.py",
]

test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))

paper = dict(row="CLIPtrase, ViT-B/16 at 336", printed=dict(pAcc=39.92, mAcc=37.75, fwIoU=29.17, mIoU=17.04))
custom_hooks = [*_base_.custom_hooks, dict(type="PrintedFiguresHook", **paper)]
