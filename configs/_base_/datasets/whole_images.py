"""What the benchmarks' configs share: whole images one by one; the segmentor itself makes the sizes it looks at."""

test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        pipeline=[
            # read by Pillow, as published; label maps lie as the pixels are stored, however the camera was held
            dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation"),
            dict(type="mmseg.LoadLabelMap"),
            dict(type="mmseg.PackSegInputs"),
        ],
    ),
)
test_evaluator = dict(type="mmseg.OpenVocabIoUMetric", iou_metrics=["mIoU"])

# of one image outside any data set, for MMSegmentation's own inference_model
test_pipeline = [
    dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation"),
    dict(type="mmseg.PackSegInputs"),
]
