"""CLIPtrase, CLIP ViT-B/16 at 224 pixels, on COCO-Stuff; nothing is trained."""

_base_ = [
    "../_base_/models/cliptrase_vitb16_224.py",
    "../_base_/datasets/coco-stuff_384x384.py",
    "../_base_/training_free_runtime.py",
]

test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))
train_dataloader = val_dataloader = val_evaluator = None

paper = dict(row="CLIPtrase, ViT-B/16 at 224", printed=dict(pAcc=38.9, mAcc=44.47, fwIoU=26.87, mIoU=22.84))
custom_hooks = [*_base_.custom_hooks, dict(type="PrintedFiguresHook", **paper)]
