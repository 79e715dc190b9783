"""CLIPtrase, CLIP ViT-B/16 at 224 pixels, on VOC20; nothing is trained."""

_base_ = [
    "../_base_/models/cliptrase_vitb16_224.py",
    "../_base_/datasets/pascal-voc-20.py",
    "../_base_/training_free_runtime.py",
]

model = dict(times_cls=True)
test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))

paper = dict(row="CLIPtrase, ViT-B/16 at 224", printed=dict(pAcc=89.68, mAcc=91.4, fwIoU=82.49, mIoU=80.95))
custom_hooks = [*_base_.custom_hooks, dict(type="PrintedFiguresHook", **paper)]
