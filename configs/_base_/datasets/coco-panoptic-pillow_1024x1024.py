"""COCO panoptic as MAFT+ and FC-CLIP read it: images read and resized by Pillow, large-scale jitter, crops of 1024."""

_base_ = ["./coco-panoptic_1024x1024.py"]

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
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
