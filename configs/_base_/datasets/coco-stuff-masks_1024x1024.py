"""COCO-Stuff 164k for mask classification: crops of 1024 with a mask for every class; whole images for testing."""

dataset_type = "mmseg.COCOStuff171Dataset"
data_root = "data/coco_stuff164k"
crop_size = (1024, 1024)

train_pipeline = [
    dict(type="mmseg.SeedAugmentation"),  # a resumed run repeats the crops of an uninterrupted one
    dict(type="LoadImageFromFile", color_type="color_ignore_orientation"),
    dict(type="mmseg.LoadAnnotations"),
    dict(
        type="RandomChoiceResize",
        scales=[int(0.1 * part * 1024) for part in range(5, 21)],
        resize_type="mmseg.ResizeShortestEdge",
        max_size=4096,
    ),
    dict(type="mmseg.RandomCrop", crop_size=crop_size, cat_max_ratio=1.0),
    dict(type="mmseg.PhotoMetricDistortion"),
    dict(type="mmseg.MasksFromLabels"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
# the segmentor itself makes the size that it looks at
test_pipeline = [
    dict(type="LoadImageFromFile", color_type="color_ignore_orientation"),
    dict(type="mmseg.LoadAnnotations"),
    dict(type="mmseg.PackSegInputs"),
]

train_dataloader = dict(
    batch_size=2,  # on each of 4 processes
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="mmseg.ReplayableSampler", shuffle=True),
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

val_evaluator = dict(type="mmseg.OpenVocabIoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
