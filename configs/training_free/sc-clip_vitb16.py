"""SC-CLIP: anomalous patches mended, tokens mixed by middle blocks; by its own protocol."""

_base_ = ["../_base_/training_free_vitb16.py"]

model = dict(backbone=dict(attention=dict(type="SelfCalibration")), protocol=dict(type="sc-clip"))
