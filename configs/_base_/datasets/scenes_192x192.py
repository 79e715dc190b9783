"""The rendered scenes: masks of training names only for training, all names for validation."""

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
        pipeline=[dict(type="RenderScene"), dict(type="PackSegInputs")],
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="OpenVocabIoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator

# of one image outside any data set, for MMSegmentation's own inference_model
test_pipeline = [
    dict(type="LoadImageFromFile", color_type="color_ignore_orientation"),
    dict(type="mmseg.PackSegInputs"),
]
benchmark_transforms = []  # of tools/test.py --benchmarks: images as they are
