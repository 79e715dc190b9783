"""80k iterations of AdamW; what belongs to CLIP learns a hundredth as fast as the head, norms do not decay."""

optim_wrapper = dict(
    type="OptimWrapper",
    constructor="mmseg.PublishedOptimizer",
    optimizer=dict(type="mmseg.FusedAdamW", lr=2e-4, betas=(0.9, 0.999), weight_decay=1e-4),
    clip_grad=dict(max_norm=0.01, norm_type=2),
    paramwise_cfg=dict(
        custom_keys={
            "backbone.adapter": dict(lr_mult=0.01),
            "backbone.image_tower": dict(lr_mult=0.01),
            "backbone.text_tower": dict(lr_mult=0.01),
        }
    ),
)
param_scheduler = [dict(type="CosineAnnealingLR", eta_min=0.0, begin=0, end=80000, T_max=80000, by_epoch=False)]

train_cfg = dict(type="IterBasedTrainLoop", max_iters=80000, val_interval=10000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
