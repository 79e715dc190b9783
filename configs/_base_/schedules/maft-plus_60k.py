"""MAFT+: 60k iterations of AdamW in bf16, batches of 8 over all processes; CLIP's tower learns a tenth as fast."""

max_iters = 60000
optim_wrapper = dict(
    type="mmseg.BF16OptimWrapper",  # published: fp16 with loss scaling, type="AmpOptimWrapper", loss_scale="dynamic"
    constructor="mmseg.PublishedOptimizer",
    optimizer=dict(type="mmseg.FusedAdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=2e-5),
    clip_grad=dict(max_norm=0.01, norm_type=2),
    paramwise_cfg=dict(
        custom_keys={
            "backbone": dict(lr_mult=0.1),
            "void": dict(decay_mult=0.0),
        },
        decayed=("level_encoding",),  # an embedding here, a bare parameter there
    ),
)
# end: one more than the iterations, as MMEngine counts steps to the last value
param_scheduler = [dict(type="PolyLR", power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=5000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
auto_scale_lr = dict(enable=False, base_batch_size=8)
