"""FISA, CLIP ViT-B/16, for data of your own: a mask for every class in an image.

The mask generator is the published one, trained on COCO panoptic and kept as it is; see docs/fisa.md.
"""

_base_ = [
    "../_base_/models/fisa_vitl14-336.py",
    "../_base_/schedules/fisa_25k.py",
    "../_base_/mask_runtime.py",
]

model = dict(
    data_preprocessor=dict(batch_augments=None),
    backbone=dict(clip=dict(model="ViT-B-16-quickgelu", pretrained="pretrained/ViT-B-16.pt")),
)

load_image = dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation")
resize = dict(type="mmseg.PublishedResize", short_side=800, max_size=1333)
train_pipeline = [
    dict(type="mmseg.SeedAugmentation"),  # a resumed run repeats the flips of an uninterrupted one
    load_image,
    dict(type="mmseg.LoadLabelMap"),
    resize,
    dict(type="mmseg.MasksFromLabels"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [load_image, resize, dict(type="mmseg.LoadLabelMap"), dict(type="mmseg.PackSegInputs")]

train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="mmseg.ReplayableSampler", shuffle=True),
    dataset=dict(type="mmseg.FolderDataset", classes=()),  # hclip-new-dataset fills it
)
val_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="mmseg.FolderDataset", classes=()),
)
test_dataloader = val_dataloader
