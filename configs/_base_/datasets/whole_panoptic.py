"""What panoptic sets share in evaluation: images as FISA's, PQ of panoptic and mIoU of semantic results."""

test_pipeline = [
    dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation"),
    dict(type="Resize", scale=(1333, 800), keep_ratio=True),
    dict(type="mmseg.LoadPanopticSegments"),
    dict(
        type="PackDetInputs",
        meta_keys=(
            "img_id",
            "img_path",
            "ori_shape",
            "img_shape",
            "scale_factor",
            "seg_map_path",
            "segments_info",
        ),
    ),
]
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mmseg.OpenVocabPanopticDataset",
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
# PQ of panoptic, mIoU of semantic results
test_evaluator = [dict(type="mmseg.OpenVocabPanopticMetric"), dict(type="SemSegMetric", iou_metrics=["mIoU"])]
val_dataloader, val_evaluator = test_dataloader, test_evaluator
