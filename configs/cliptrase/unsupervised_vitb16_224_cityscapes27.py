"""CLIPtrase's regions, ViT-B/16 at 224 pixels, gathered into 27 clusters on Cityscapes-27; no names, no training."""

_base_ = [
    "../_base_/models/cliptrase_vitb16_224.py",
    "../_base_/datasets/cityscapes-27.py",
    "../_base_/training_free_runtime.py",
]

model = dict(
    _delete_=True,
    type="UnsupervisedSegmentor",
    data_preprocessor=_base_.data_preprocessor,
    backbone=_base_.model.backbone,
    regions=_base_.model.regions,
    resolution=224,
    clusters=27,
)
test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))
test_evaluator = dict(type="HungarianIoUMetric", clusters=27)

paper = dict(row="CLIPtrase", mIoU={"Cityscapes-27": 20.0})
custom_hooks = [dict(type="RegionKMeansHook"), dict(type="PrintedFiguresHook")]
