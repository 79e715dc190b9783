"""The rendered scenes as boxes: those of training names for training, all names for validation."""

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="mmseg.ReplayableSampler", shuffle=True),
    dataset=dict(
        type="SceneDetectionDataset",
        split="train",
        length=4000,
        image_size=192,
        pipeline=[
            dict(type="mmseg.SeedAugmentation"),
            dict(type="mmseg.RenderScene"),
            dict(type="BoxesFromLabels"),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackDetInputs"),
        ],
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="SceneDetectionDataset",
        split="val",
        length=160,
        image_size=192,
        test_mode=True,
        pipeline=[
            dict(type="LoadImageFromFile", color_type="color_ignore_orientation"),  # of a scene: renders it
            dict(type="Resize", scale=(192, 192), keep_ratio=True),
            dict(type="BoxesFromLabels"),
            dict(
                type="PackDetInputs",
                meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "instances"),
            ),
        ],
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="OpenVocabAP50")
test_evaluator = val_evaluator
