"""CLIPtrase, CLIP ViT-B/16 at 224 pixels, on PC60; nothing is trained."""

_base_ = [
    "../_base_/models/cliptrase_vitb16_224.py",
    "../_base_/datasets/pascal-context-60.py",
    "../_base_/training_free_runtime.py",
]

test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))

paper = dict(row="CLIPtrase, ViT-B/16 at 224", printed=dict(pAcc=52.14, mAcc=56.08, fwIoU=37.61, mIoU=29.87))
custom_hooks = [*_base_.custom_hooks, dict(type="PrintedFiguresHook", **paper)]
