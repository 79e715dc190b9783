"""The small Mask2Former whose proposals the configs for the scenes classify: things and stuff of the training names."""

_base_ = ["./fisa_tiny_scenes.py"]

generator = _base_.model.generator
generator.pop("init_cfg")
model = dict(
    _delete_=True,
    data_preprocessor=_base_.model.data_preprocessor,
    train_cfg=dict(
        num_points=1024,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
        assigner=dict(
            type="HungarianAssigner",
            match_costs=[
                dict(type="ClassificationCost", weight=2.0),
                dict(type="CrossEntropyLossCost", weight=5.0, use_sigmoid=True),
                dict(type="DiceCost", weight=5.0, pred_act=True, eps=1.0),
            ],
        ),
        sampler=dict(type="MaskPseudoSampler"),
    ),
    test_cfg=dict(panoptic_on=True, semantic_on=False, instance_on=False),
    **generator,
)

max_iters = 2000
optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="mmseg.FusedAdamW", lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=1.0, norm_type=2),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type="CosineAnnealingLR", eta_min=0.0, begin=100, end=max_iters, T_max=max_iters - 100, by_epoch=False),
]
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="mmseg.SeedAugmentation"),
            dict(type="mmseg.RenderScene"),
            dict(type="mmseg.MasksFromLabels", agnostic=True),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackDetInputs"),
        ]
    )
)
# its own labels are of no use to anybody, so nothing is evaluated; a test looks at single images
train_cfg = dict(_delete_=True, type="IterBasedTrainLoop", max_iters=max_iters)
val_dataloader = val_evaluator = val_cfg = None
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile", color_type="color_ignore_orientation"),
            dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
        ]
    )
)
test_evaluator = []
default_hooks = dict(checkpoint=dict(interval=100))
# MMDetection's own model, drawn by its own visualizer
visualizer = dict(_delete_=True, type="DetLocalVisualizer", vis_backends=[dict(type="LocalVisBackend")])
