"""Kept for one release: cliptrase_vitb16_336.py --benchmarks PAS-20."""

_base_ = ["../_base_/cliptrase_vitb16_336.py", "../_base_/datasets/pascal-voc-20.py"]

test_dataloader = dict(batch_size=8, dataset=dict(vocabulary="pascal_voc_20@cliptrase", pipeline=_base_.clip_pipeline))
