"""CLIPtrase, CLIP ViT-B/16 at 224 pixels, on ADE150; nothing is trained."""

_base_ = [
    "../_base_/models/cliptrase_vitb16_224.py",
    "../_base_/datasets/ade20k-150.py",
    "../_base_/training_free_runtime.py",
]

test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))

paper = dict(row="CLIPtrase, ViT-B/16 at 224", printed=dict(pAcc=38.57, mAcc=39.17, fwIoU=27.96, mIoU=16.35))
custom_hooks = [*_base_.custom_hooks, dict(type="PrintedFiguresHook", **paper)]
