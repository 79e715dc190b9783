"""CLIPtrase, CLIP ViT-B/16 at 336 pixels, on VOC20; nothing is trained."""

_base_ = [
    "../_base_/models/cliptrase_vitb16_336.py",
    "../_base_/datasets/pascal-voc-20.py",
    "../_base_/training_free_runtime.py",
]

model = dict(times_cls=True)
test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))

paper = dict(row="CLIPtrase, ViT-B/16 at 336", printed=dict(pAcc=89.51, mAcc=91.77, fwIoU=82.15, mIoU=81.2))
custom_hooks = [*_base_.custom_hooks, dict(type="PrintedFiguresHook", **paper)]
