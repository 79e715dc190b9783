"""COCO panoptic: large-scale jitter of 0.1 to 2 and crops of 1024 for training, shorter side 800 for testing."""

_base_ = ["./whole_panoptic.py"]

vocabulary = "coco_panoptic_133"
data_root = "data/coco/"
crop_size = (1024, 1024)

train_pipeline = [
    dict(type="mmseg.SeedAugmentation"),  # a resumed run repeats the crops of an uninterrupted one
    dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation", to_float32=True),
    dict(type="mmseg.LoadPanopticSegments"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomResize", scale=crop_size, ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, crop_type="absolute", recompute_bbox=True, allow_negative_crop=True),
    dict(type="PackDetInputs"),
]

train_dataloader = dict(
    batch_size=2,  # on each of 8 processes
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="mmseg.ReplayableSampler", shuffle=True),
    dataset=dict(
        type="mmseg.OpenVocabPanopticDataset",
        vocabulary=vocabulary,
        data_root=data_root,
        ann_file="annotations/panoptic_train2017.json",
        data_prefix=dict(img="train2017/", seg="annotations/panoptic_train2017/"),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        vocabulary=vocabulary,
        data_root=data_root,
        ann_file="annotations/panoptic_val2017.json",
        data_prefix=dict(img="val2017/", seg="annotations/panoptic_val2017/"),
    ),
)
test_dataloader = val_dataloader
