"""FISA: 25k iterations of AdamW, batches of 16 over all processes; CLIP's tower learns a tenth as fast."""

max_iters = 25000
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="mmseg.FusedAdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=0.01, norm_type=2),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys={
            "backbone.mask_tokens.queries": dict(lr_mult=0.1),
            "backbone.mask_tokens.adapter": dict(lr_mult=0.1),
            "backbone.mask_tokens.tower": dict(lr_mult=0.1),
            "backbone.text_tower": dict(lr_mult=0.1),
            "classes.void": dict(decay_mult=0.0),
        },
    ),
)
param_scheduler = [
    dict(
        type="MultiStepLR",
        begin=0,
        end=max_iters,
        by_epoch=False,
        milestones=[int(0.9 * max_iters), int(0.95 * max_iters)],
        gamma=0.1,
    )
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=5000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
auto_scale_lr = dict(enable=False, base_batch_size=16)
