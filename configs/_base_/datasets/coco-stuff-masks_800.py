"""COCO-Stuff 164k for mask classification: a shorter side of 800, flipped, with a mask for every class."""

dataset_type = "mmseg.COCOStuff171Dataset"
data_root = "data/coco_stuff164k"
vocabulary = "coco_stuff_171@maft-plus"  # as published, in training too: synonyms, of which the best counts

load_image = dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation")
published_resize = dict(type="mmseg.PublishedResize", short_side=800, max_size=1333)
train_pipeline = [
    dict(type="mmseg.SeedAugmentation"),  # a resumed run repeats the flips of an uninterrupted one
    load_image,
    dict(type="mmseg.LoadLabelMap"),
    published_resize,
    dict(type="mmseg.MasksFromLabels"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
benchmark_transforms = [published_resize]  # of tools/test.py --benchmarks
test_pipeline = [
    load_image,
    published_resize,
    dict(type="mmseg.LoadLabelMap"),
    dict(type="mmseg.PackSegInputs"),
]

train_dataloader = dict(
    batch_size=2,  # on each of 4 processes
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="mmseg.ReplayableSampler", shuffle=True),
    dataset=dict(
        type=dataset_type,
        vocabulary=vocabulary,
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
        vocabulary=vocabulary,
        data_root=data_root,
        data_prefix=dict(img_path="images/val2017", seg_map_path="annotations/val2017"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="mmseg.OpenVocabIoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
