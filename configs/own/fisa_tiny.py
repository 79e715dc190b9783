"""FISA on the embedded tiny CLIP, for data of your own; its proposals are those of `fisa/proposals_tiny_scenes.py`."""

_base_ = ["../fisa/fisa_tiny_scenes.py", "../_base_/datasets/own-masks_192x192.py"]

train_pipeline = _base_.own_train_pipeline
test_pipeline = _base_.own_test_pipeline
