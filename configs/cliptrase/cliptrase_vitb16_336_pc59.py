"""Kept for one release: cliptrase_vitb16_336.py --benchmarks PC-59."""

_base_ = ["../_base_/cliptrase_vitb16_336.py", "../_base_/datasets/pascal-context-59.py"]

test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))
