"""The rendered scenes: masks of training names only for training, all names for validation."""

# scenes are rendered where an image would be loaded, which MMSegmentation's own inferencers do with it
test_pipeline = [
    dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation"),
    dict(type="mmseg.PackSegInputs"),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="ReplayableSampler", shuffle=True),
    dataset=dict(
        type="SceneDataset",
        split="train",
        length=4000,
        image_size=192,
        pipeline=[dict(type="RenderScene"), dict(type="PackSegInputs")],
    ),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="SceneDataset",
        split="val",
        length=160,
        image_size=192,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="OpenVocabIoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
benchmark_transforms = []  # of tools/test.py --benchmarks: images as they are
