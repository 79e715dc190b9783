"""GEM: self-attentions beside the last six blocks; by SCLIP's protocol."""

_base_ = ["../_base_/training_free_vitb16.py"]

model = dict(backbone=dict(attention=dict(type="GEMAttention", depth=6)))
