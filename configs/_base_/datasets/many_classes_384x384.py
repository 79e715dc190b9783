"""What sets of more classes than fit into 8 bits share: label maps of 16 bits, in training and evaluation."""

crop_size = (384, 384)
# label maps lie as the pixels are stored, whatever a camera noted on how it was held
load_picture = dict(type="LoadImageFromFile", color_type="color_ignore_orientation")
ignore_index = 65535  # 255 is a class

train_pipeline = [
    dict(type="mmseg.SeedAugmentation"),  # a resumed run repeats the crops of an uninterrupted one
    load_picture,
    dict(type="mmseg.LoadLabelMap"),
    dict(type="mmseg.ResizeShortestEdge", scale=384, max_size=2560),
    dict(type="mmseg.RandomCrop", crop_size=crop_size, cat_max_ratio=1.0, ignore_index=ignore_index),
    dict(type="mmseg.PhotoMetricDistortion"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="Pad", size=crop_size, pad_val=dict(img=0, seg=ignore_index)),
    dict(type="mmseg.PackSegInputs"),
]
# the segmentor itself makes the sizes that it looks at
test_pipeline = [
    load_picture,
    dict(type="mmseg.LoadLabelMap"),
    dict(type="mmseg.PackSegInputs"),
]

train_dataloader = dict(
    batch_size=4,  # of each process; the papers' schedule is for 4 in all
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="mmseg.ReplayableSampler", shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(pipeline=test_pipeline),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="mmseg.OpenVocabIoUMetric", iou_metrics=["mIoU"], ignore_index=ignore_index)
test_evaluator = val_evaluator
