"""H-CLIP on the embedded tiny CLIP, for data of your own in crops of 192: to try everything in minutes on a CPU."""

_base_ = ["../hclip/hclip_tiny_scenes.py"]

model = dict(backbone=dict(train_positions=False))  # as published
load_image = dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation")
train_pipeline = [
    dict(type="SeedAugmentation"),  # a resumed run repeats the crops of an uninterrupted one
    load_image,
    dict(type="LoadLabelMap"),
    dict(type="PublishedResize", short_side=192, max_size=384),
    dict(type="RandomCrop", crop_size=(192, 192), cat_max_ratio=1.0),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
test_pipeline = [load_image, dict(type="LoadLabelMap"), dict(type="PackSegInputs")]
custom_hooks = []
