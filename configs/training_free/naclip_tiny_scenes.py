"""NACLIP by the protocol of the field with the embedded tiny CLIP on its scenes; other methods by --cfg-options."""

_base_ = [
    "../_base_/models/training_free_vitb16.py",
    "../_base_/models/tiny_clip.py",
    "../_base_/datasets/scenes_192x192.py",
    "../_base_/training_free_runtime.py",
]

model = dict(
    backbone=dict(
        clip=_base_.tiny_clip,
        attention=dict(type="naclip"),
    ),
    text_encoder=dict(templates="scene"),
    protocol=dict(type="naclip", short_side=192, window=128, stride=64),
)
train_dataloader = val_dataloader = val_evaluator = None
