"""FISA on the embedded tiny CLIP and its scenes.

The proposals come from `proposals_tiny_scenes.py`, which has to be trained first, on masks of the training names. It
tells things, stuff and nothing apart and knows no names.
"""

_base_ = [
    "../_base_/models/fisa_vitl14-336.py",
    "../_base_/models/tiny_clip.py",
    "../_base_/datasets/scene-masks_192x192.py",
    "../_base_/schedules/fisa_25k.py",
    "../_base_/mask_runtime.py",
]

proposals = "work_dirs/fisa/proposals_tiny_scenes/iter_2000.pth"
attention = dict(embed_dims=64, num_heads=4)
generator = dict(
    backbone=dict(
        _delete_=True,
        type="ResNet",
        depth=18,
        base_channels=16,
        stem_channels=16,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type="GN", num_groups=4),
    ),
    panoptic_head=dict(
        in_channels=[16, 32, 64, 128],
        feat_channels=64,
        out_channels=64,
        num_things_classes=1,
        num_stuff_classes=1,
        loss_cls=dict(class_weight=[1.0] * 2 + [0.1]),
        num_queries=20,
        pixel_decoder=dict(
            norm_cfg=dict(num_groups=8),
            encoder=dict(
                num_layers=2,
                layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=dict(embed_dims=64, feedforward_channels=128)),
            ),
            positional_encoding=dict(num_feats=32),
        ),
        positional_encoding=dict(num_feats=32),
        transformer_decoder=dict(
            num_layers=3,
            layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=attention,
                ffn_cfg=dict(embed_dims=64, feedforward_channels=256),
            ),
        ),
    ),
    panoptic_fusion_head=dict(num_things_classes=1, num_stuff_classes=1),
    init_cfg=dict(checkpoint=proposals),
)
model = dict(
    data_preprocessor=dict(batch_augments=None),
    generator=generator,
    backbone=dict(
        clip=_base_.tiny_clip,
        resolution=192,
        seve=dict(inner_width=48),
    ),
    text_encoder=dict(templates="scene"),
    criterion=dict(type="MaskClassificationLoss", num_points=1024),
    test_cfg=dict(object_threshold=0.3, overlap_threshold=0.8),
)
benchmark_transforms = []

# minutes instead of 25k iterations, so with larger steps
max_iters = 400
optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type="CosineAnnealingLR", eta_min=0.0, begin=20, end=max_iters, T_max=max_iters - 20, by_epoch=False),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(interval=100),
    visualization=dict(draw=True, interval=10),
)
env_cfg = dict(dist_cfg=dict(backend="gloo"))
