"""CLIPtrase with the embedded tiny CLIP on its scenes."""

_base_ = [
    "../_base_/models/cliptrase_vitb16_224.py",
    "../_base_/models/tiny_clip.py",
    "../_base_/datasets/scenes_192x192.py",
    "../_base_/training_free_runtime.py",
]

model = dict(
    backbone=dict(
        clip=_base_.tiny_clip,
    ),
    text_encoder=dict(templates="scene"),
    # 24 x 24 patches: the published setting of the larger grid, that of 336 pixels
    regions=dict(epsilon=1.1, min_samples=7),
    resolution=192,
)
train_dataloader = val_dataloader = val_evaluator = None
