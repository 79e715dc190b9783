"""What sets of more classes than fit into 8 bits share: label maps of 16 bits, in training and evaluation."""

crop_size = (384, 384)
# read by Pillow, as published; label maps lie as the pixels are stored, whatever a camera noted on how it was held
load_image = dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation")
ignore_index = 65535  # 255 is a class

train_pipeline = [
    dict(type="mmseg.SeedAugmentation"),  # a resumed run repeats the crops of an uninterrupted one
    load_image,
    dict(type="mmseg.LoadLabelMap"),
    dict(type="mmseg.PublishedResize", short_side=384, max_size=1333),
    dict(type="mmseg.RandomCrop", crop_size=crop_size, cat_max_ratio=1.0, ignore_index=ignore_index),
    dict(type="mmseg.PhotoMetricDistortion"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="Pad", size=crop_size, pad_val=dict(img=0, seg=ignore_index)),
    dict(type="mmseg.PackSegInputs"),
]
# windows and whole view are made from a copy of this size; `--resize direct` makes them from the image itself
published_resize = dict(type="mmseg.PublishedResize", short_side=640, max_size=2560)
benchmark_transforms = [published_resize]  # of tools/test.py --benchmarks
test_pipeline = [
    load_image,
    published_resize,
    dict(type="mmseg.LoadLabelMap"),
    dict(type="mmseg.PackSegInputs"),
]

train_dataloader = dict(
    batch_size=4,  # of each process; the papers' schedule is for 4 in all
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="mmseg.ReplayableSampler", shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(pipeline=test_pipeline),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="mmseg.OpenVocabIoUMetric", iou_metrics=["mIoU"], ignore_index=ignore_index)
test_evaluator = val_evaluator
