"""MAFT+ on the tiny ConvNeXt CLIP and its scenes: proposals, CLIP's tower and transfer are trained together.

The tiny ConvNeXt CLIP is embedded; `tools/pretrain_tiny.py convnext` made it.
"""

_base_ = [
    "../_base_/models/maft-plus_convnext-l.py",
    "../_base_/datasets/scene-masks_192x192.py",
    "../_base_/schedules/maft-plus_60k.py",
    "../_base_/mask_runtime.py",
]

# the last two register MAFT+ and the tiny tower
custom_imports = dict(
    imports=["hclip_mmseg", "hclip_mmseg.mask_classification.maft_plus", "hclip_mmseg.demo_assets.tiny_convnext"],
    allow_failed_imports=False,
)
attention = dict(embed_dims=64, num_heads=4)
model = dict(
    data_preprocessor=dict(batch_augments=None, pad_size_divisor=16),
    backbone=dict(
        clip=dict(
            model="hclip_mmseg/demo_assets/tiny_convnext.json", pretrained="hclip_mmseg/demo_assets/tiny_convnext.pt"
        )
    ),
    head=dict(
        feat_channels=64,
        out_channels=64,
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
    text_encoder=dict(templates="scene"),
    criterion=dict(num_points=1024),
    view=None,
    test_cfg=dict(object_threshold=0.2, overlap_threshold=0.7),
)

# minutes instead of 60k iterations, so with larger steps
max_iters = 2000
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="DefaultOptimWrapperConstructor",
    optimizer=dict(lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(
        _delete_=True,
        norm_decay_mult=0.0,
        custom_keys={
            "backbone.image_tower": dict(lr_mult=0.1),
            "query_embed": dict(decay_mult=0.0),
            "query_feat": dict(decay_mult=0.0),
            "level_embed": dict(decay_mult=0.0),
            "void": dict(decay_mult=0.0),
        },
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type="CosineAnnealingLR", eta_min=0.0, begin=100, end=max_iters, T_max=max_iters - 100, by_epoch=False),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(interval=100),
    visualization=dict(draw=True, interval=10),
)
env_cfg = dict(dist_cfg=dict(backend="gloo"))
