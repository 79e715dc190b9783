"""CAT-Seg's head on CLIP ConvNeXt-B in SED's setting, trained on COCO-Stuff 171: 768 pixels, 24 x 24 positions.

SED (Xie et al., CVPR 2024) reads the same encoder by a decoder of its own; its figures are of that one.
"""

_base_ = [
    "../_base_/models/cat-seg_vitb16.py",
    "../_base_/datasets/coco-stuff_384x384.py",
    "../_base_/schedules/schedule_80k.py",
    "../_base_/default_runtime.py",
]

crop_size = (768, 768)
train_pipeline = [
    dict(type="SeedAugmentation"),
    dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation"),
    dict(type="LoadLabelMap"),
    dict(type="PublishedResize", short_side=768, max_size=2666),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=1.0),
    dict(type="PhotoMetricDistortion"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        _delete_=True,
        type="ConvNeXtBackbone",
        clip=dict(model="convnext_base_w_320", pretrained="laion_aesthetic_s13b_b82k"),
    ),
    decode_head=dict(text_channels=640, aggregator=dict(guidance_channels=(512, 256))),
    test_cfg=dict(mode="whole", clip_resolution=768),
)
find_unused_parameters = False
