"""The rendered scenes as masks, objects things and backgrounds stuff: training names for training, then all names."""

# scenes are rendered where an image would be loaded, which MMSegmentation's own inferencers do with it
test_pipeline = [
    dict(type="LoadImageFromFile", color_type="color_ignore_orientation"),
    dict(type="mmseg.PackSegInputs"),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="mmseg.ReplayableSampler", shuffle=True),
    dataset=dict(
        type="mmseg.ScenePanopticDataset",
        split="train",
        length=4000,
        image_size=192,
        pipeline=[
            dict(type="mmseg.SeedAugmentation"),
            dict(type="mmseg.RenderScene"),
            dict(type="mmseg.MasksFromLabels"),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackDetInputs"),
        ],
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mmseg.ScenePanopticDataset",
        split="val",
        length=160,
        image_size=192,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(type="mmseg.OpenVocabIoUMetric", iou_metrics=["mIoU"]),
    dict(type="mmseg.ScenePanopticMetric"),
]
test_evaluator = val_evaluator
