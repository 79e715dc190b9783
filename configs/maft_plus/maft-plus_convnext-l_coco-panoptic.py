"""MAFT+: CLIP ConvNeXt-L, 60k iterations on COCO panoptic."""

_base_ = [
    "../_base_/models/maft-plus_convnext-l.py",
    "../_base_/datasets/coco-panoptic_1024x1024.py",
    "../_base_/schedules/maft-plus_60k.py",
    "../_base_/mask_runtime.py",
]

vocabulary = "coco_panoptic_133@maft-plus"  # as published, in training too
# images are read and resized by Pillow, as published
load_image = dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation")
published_resize = dict(type="mmseg.PublishedResize", short_side=800, max_size=1333)
benchmark_transforms = [published_resize]  # of tools/test.py --benchmarks
train_pipeline = [
    dict(type="mmseg.SeedAugmentation"),  # a resumed run repeats the crops of an uninterrupted one
    load_image,
    dict(type="mmseg.LoadPanopticSegments"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomResize", scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True, backend="pillow"),
    dict(type="RandomCrop", crop_size=(1024, 1024), recompute_bbox=True, allow_negative_crop=True),
    dict(type="PackDetInputs"),
]
test_pipeline = [load_image, published_resize, *_base_.test_pipeline[2:]]
train_dataloader = dict(
    batch_size=2,  # on each of 4 processes
    dataset=dict(vocabulary=vocabulary, pipeline=train_pipeline),
)
val_dataloader = test_dataloader = dict(dataset=dict(vocabulary=vocabulary, pipeline=test_pipeline))
paper = dict(table="panoptic, ADE20K", row="MAFT+", figures={"ADE150 PQ": 27.1, "ADE150 SQ": 73.5, "ADE150 RQ": 32.9})
