"""MAFT+ on the embedded tiny ConvNeXt CLIP, for data of your own."""

_base_ = ["../maft_plus/maft-plus_tiny_scenes.py"]

load_image = dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation")
train_pipeline = [
    dict(type="mmseg.SeedAugmentation"),  # a resumed run repeats the flips of an uninterrupted one
    load_image,
    dict(type="mmseg.LoadLabelMap"),
    dict(type="mmseg.PublishedResize", short_side=192, max_size=384),
    dict(type="mmseg.MasksFromLabels"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [load_image, dict(type="mmseg.LoadLabelMap"), dict(type="mmseg.PackSegInputs")]
