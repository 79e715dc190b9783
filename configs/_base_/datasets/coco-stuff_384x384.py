"""COCO-Stuff 164k, 171 classes: crops of 384 in batches of 4 for training, whole images for testing."""

dataset_type = "COCOStuff171Dataset"
data_root = "data/coco_stuff164k"
crop_size = (384, 384)

train_pipeline = [
    dict(type="SeedAugmentation"),  # a resumed run repeats the crops of an uninterrupted one
    dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation"),
    dict(type="LoadLabelMap"),
    dict(type="PublishedResize", short_side=384, max_size=1333),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=1.0),
    dict(type="PhotoMetricDistortion"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
# windows and whole view are made from a copy of this size; `--resize direct` makes them from the image itself
published_resize = dict(type="mmseg.PublishedResize", short_side=640, max_size=2560)
benchmark_transforms = [published_resize]  # of tools/test.py --benchmarks
test_pipeline = [
    dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation"),
    published_resize,
    dict(type="LoadLabelMap"),
    dict(type="PackSegInputs"),
]

train_dataloader = dict(
    batch_size=4,  # of each process; the papers' schedule is for 4 in all
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="ReplayableSampler", shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path="images/train2017", seg_map_path="annotations/train2017"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path="images/val2017", seg_map_path="annotations/val2017"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="OpenVocabIoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
