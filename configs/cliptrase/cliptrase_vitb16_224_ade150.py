"""Kept for one release: cliptrase_vitb16_224.py --benchmarks A-150."""

_base_ = ["../_base_/cliptrase_vitb16_224.py", "../_base_/datasets/ade20k-150.py"]

test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))
