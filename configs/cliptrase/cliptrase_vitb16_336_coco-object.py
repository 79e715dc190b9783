"""CLIPtrase, CLIP ViT-B/16 at 336 pixels, on COCO-Object; nothing is trained."""

_base_ = [
    "../_base_/models/cliptrase_vitb16_336.py",
    "../_base_/datasets/coco-object.py",
    "../_base_/training_free_runtime.py",
]

test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))

paper = dict(row="CLIPtrase, ViT-B/16 at 336", printed=dict(pAcc=50.01, mAcc=62.55, fwIoU=38.24, mIoU=44.84))
custom_hooks = [*_base_.custom_hooks, dict(type="PrintedFiguresHook", **paper)]
