"""Kept for one release: cliptrase_vitb16_336.py --benchmarks A-847."""

_base_ = ["../_base_/cliptrase_vitb16_336.py", "../_base_/datasets/ade20k-847.py"]

# on the same reduced copies as the others
test_dataloader = dict(batch_size=8, dataset=dict(pipeline=[_base_.test_pipeline[0], *_base_.clip_pipeline[1:]]))
train_dataloader = val_dataloader = val_evaluator = None
