"""MAFT+ on the embedded tiny ConvNeXt CLIP, for data of your own."""

_base_ = ["../maft_plus/maft-plus_tiny_scenes.py", "../_base_/datasets/own-masks_192x192.py"]

train_pipeline = _base_.own_train_pipeline
test_pipeline = _base_.own_test_pipeline
