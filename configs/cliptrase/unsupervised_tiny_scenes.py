"""Regions of the embedded tiny CLIP gathered into clusters on its scenes; no names, no training."""

_base_ = ["./cliptrase_tiny_scenes.py"]

clusters = 78  # as many as the scenes have names
model = dict(
    _delete_=True,
    type="UnsupervisedSegmentor",
    data_preprocessor=_base_.data_preprocessor,
    backbone=_base_.model.backbone,
    regions=_base_.model.regions,
    resolution=192,
    clusters=clusters,
)
test_evaluator = dict(type="HungarianIoUMetric", clusters=clusters)
custom_hooks = [dict(type="RegionKMeansHook")]
