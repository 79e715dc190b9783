"""How images of your own are read for the tiny mask classifiers: a shorter side of 192, a mask for every class.

Under names of their own, since the scenes that these configs stand on have a `test_pipeline` too.
"""

load_image = dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation")
own_train_pipeline = [
    dict(type="mmseg.SeedAugmentation"),  # a resumed run repeats the flips of an uninterrupted one
    load_image,
    dict(type="mmseg.LoadLabelMap"),
    dict(type="mmseg.PublishedResize", short_side=192, max_size=384),
    dict(type="mmseg.MasksFromLabels"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
own_test_pipeline = [load_image, dict(type="mmseg.LoadLabelMap"), dict(type="mmseg.PackSegInputs")]
