"""Three epochs of AdamW in batches of 64, as CLIM trains; with other batches the rates are scaled in proportion."""

optim_wrapper = dict(
    type="mmseg.BF16OptimWrapper",  # published: fp16 with loss scaling, type="AmpOptimWrapper", loss_scale="dynamic"
    optimizer=dict(type="mmseg.FusedAdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.1),
    clip_grad=dict(max_norm=1.0, norm_type=2),
    paramwise_cfg=dict(
        # what belongs to CLIP learns as in segmentation: a rate of 2e-6, a decay of 1e-4
        custom_keys={
            "backbone.adapter": dict(lr_mult=0.02, decay_mult=0.001),
            "backbone.image_tower": dict(lr_mult=0.02, decay_mult=0.001),
            "backbone.text_tower": dict(lr_mult=0.02, decay_mult=0.001),
            # CLIM decays the temperature itself, by 5 % in all; on its logarithm the same decay would take 18 %
            "log_temperature": dict(decay_mult=0.0),
        },
    ),
)
auto_scale_lr = dict(enable=True, base_batch_size=64)
# a constant rate after warm-up
param_scheduler = [dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=250)]

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=3, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
