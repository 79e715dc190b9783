"""OV-COCO: boxes of 48 base names for training, base and novel names for testing; see docs/detection.md."""

data_root = "data/coco"
size = (640, 640)
# CLIM's: CLIP's mean as RGB lists it, while the pixels still are BGR
pad = dict(type="Pad", size=size, pad_val=dict(img=(122.7709383, 116.7460125, 104.09373615)))

train_pipeline = [
    dict(type="mmseg.SeedAugmentation"),  # a resumed run repeats the crops of an uninterrupted one
    dict(
        type="LoadImageFromFile",
        imdecode_backend="pillow",
        color_type="color_ignore_orientation",
        to_float32=True,
    ),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="RandomResize", scale=size, ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_type="absolute_range", crop_size=size, recompute_bbox=True, allow_negative_crop=True),
    pad,
    dict(type="FilterAnnotations", min_gt_bbox_wh=(1e-2, 1e-2), keep_empty=False),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(
        type="LoadImageFromFile",
        imdecode_backend="pillow",
        color_type="color_ignore_orientation",
        to_float32=True,
    ),
    dict(type="Resize", scale=size, keep_ratio=True),
    pad,
    dict(type="LoadAnnotations", with_bbox=True),  # behind Resize: boxes of the original image, for drawing
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "instances"),
    ),
]

train_dataloader = dict(
    batch_size=8,  # on each of 8 GPUs
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="mmseg.EpochReplayableSampler", shuffle=True),
    dataset=dict(
        type="mmdet.OVCocoDataset",
        names="ov_coco_48",
        data_root=data_root,
        ann_file="annotations/ov-coco/instances_train2017_base.json",
        data_prefix=dict(img="train2017/"),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mmdet.OVCocoDataset",
        names="ov_coco_65",
        asked="coco_object_80",  # as CLIM does: the 15 names that are left out compete for regions too
        data_root=data_root,
        ann_file="annotations/ov-coco/instances_val2017_all.json",
        data_prefix=dict(img="val2017/"),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="OpenVocabAP50")
test_evaluator = val_evaluator
