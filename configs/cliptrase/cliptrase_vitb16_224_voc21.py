"""CLIPtrase, CLIP ViT-B/16 at 224 pixels, on VOC21; nothing is trained."""

_base_ = [
    "../_base_/models/cliptrase_vitb16_224.py",
    "../_base_/datasets/pascal-voc-21.py",
    "../_base_/training_free_runtime.py",
]

test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))

paper = dict(row="CLIPtrase, ViT-B/16 at 224", printed=dict(pAcc=78.63, mAcc=84.11, fwIoU=67.67, mIoU=50.88))
custom_hooks = [*_base_.custom_hooks, dict(type="PrintedFiguresHook", **paper)]
