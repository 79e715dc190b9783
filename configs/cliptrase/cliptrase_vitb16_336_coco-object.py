"""Kept for one release: cliptrase_vitb16_336.py --benchmarks COCO-Object."""

_base_ = ["../_base_/cliptrase_vitb16_336.py", "../_base_/datasets/coco-object.py"]

test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.clip_pipeline))
