"""Training-free segmentation on CLIP ViT-B/16 by the protocol that the field shares; nothing is trained."""

benchmark_style = "sclip"  # whose published class lists benchmarks take
data_preprocessor = dict(
    type="SegDataPreProcessor",
    mean=[122.771, 116.746, 104.094],
    std=[68.501, 66.632, 70.323],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
)
model = dict(
    type="TrainingFreeSegmentor",
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type="TrainingFreeBackbone",
        clip=dict(model="ViT-B-16-quickgelu", pretrained="pretrained/ViT-B-16.pt"),
        attention=dict(type="clip"),
    ),
    text_encoder=dict(type="TextEncoderNeck", templates="imagenet"),
    protocol=dict(type="sclip"),
)

# how SCLIP and its successors count labels, where that differs from the benchmark's own way
benchmark_datasets = {
    "VOC21": dict(type="mmseg.PascalVOC21OutlinesIgnoredDataset"),
    "COCO-Object": dict(type="mmseg.COCOObjectAllBackgroundDataset"),
}
