"""Kept for one release: cliptrase_vitb16_224.py --benchmarks COCO-Stuff."""

_base_ = ["../_base_/cliptrase_vitb16_224.py", "../_base_/datasets/coco-stuff_384x384.py"]

test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))
train_dataloader = val_dataloader = val_evaluator = None
