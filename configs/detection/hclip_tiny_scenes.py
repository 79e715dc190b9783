"""H-CLIP as a detector on the embedded tiny CLIP and its scenes: each object a box, its phrase the class.

Boxes of the training names only for training, all names for validation, those without boxes apart.
"""

_base_ = [
    "../_base_/models/ov-faster-rcnn_vitb16.py",
    "../_base_/models/tiny_clip.py",
    "../_base_/datasets/scene-boxes_192x192.py",
    "../_base_/detection_runtime.py",
]

from hclip_mmseg.datasets.scene_detection import TRAIN_OBJECTS as base_names  # noqa: E402, N811 (behind _base_)

norm = dict(type="GN", num_groups=16)
model = dict(
    data_preprocessor=dict(pad_size_divisor=16),
    backbone=dict(
        clip=_base_.tiny_clip,
        adapter=dict(type="POP", block_size=32, orthogonal=("text",), relation=dict(type="linear")),
        train_positions=True,
        out_layers=(1, 2, 3, 5),
        # the tiny CLIP's frozen tokens know the names on the value path alone
        residual="value",
    ),
    text_encoder=dict(templates="scene"),
    # a patch of 8 pixels halves all strides
    neck=[
        dict(type="PatchPyramid", channels=192, norm_cfg=norm),
        dict(type="FPN", in_channels=[192, 192, 192, 192], out_channels=64, norm_cfg=norm, num_outs=5),
    ],
    rpn_head=dict(in_channels=64, feat_channels=64, num_convs=1, anchor_generator=dict(strides=[2, 4, 8, 16, 32])),
    roi_head=dict(
        base_names=base_names,
        bbox_roi_extractor=dict(out_channels=64, featmap_strides=[2, 4, 8, 16], finest_scale=28),
        bbox_head=dict(
            text_channels=128,
            in_channels=64,
            conv_out_channels=64,
            fc_out_channels=256,
            num_cls_fcs=0,
            num_reg_fcs=0,
            norm_cfg=norm,
        ),
        region_extractor=dict(out_channels=128, featmap_strides=[8]),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=100)),
)

max_iters = 480
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="mmseg.FusedAdamW", lr=1e-3, betas=(0.9, 0.999), weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0, norm_type=2),
    paramwise_cfg=dict(
        custom_keys={
            "backbone.adapter": dict(lr_mult=0.3),
            "backbone.image_tower": dict(lr_mult=0.1),
            "backbone.text_tower": dict(lr_mult=0.1),
        }
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type="CosineAnnealingLR", eta_min=0.0, begin=20, end=max_iters, T_max=max_iters - 20, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    logger=dict(interval=10, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=100),
    visualization=dict(draw=True, interval=10),
    relations=dict(interval=50),
)
log_processor = dict(by_epoch=False)
env_cfg = dict(dist_cfg=dict(backend="gloo"))
