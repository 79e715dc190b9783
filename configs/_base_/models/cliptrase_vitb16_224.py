"""CLIPtrase on CLIP ViT-B/16 at 224 pixels; nothing is trained."""

benchmark_style = "cliptrase"  # whose published class lists and metrics benchmarks take
data_preprocessor = dict(
    type="SegDataPreProcessor",
    mean=[122.7709383, 116.7460125, 104.09373615],
    std=[68.5005327, 66.6321579, 70.32316305],
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
        attention="cliptrase",
        correlation=dict(similarity="cosine", heads="separate"),
    ),
    text_encoder=dict(type="TextEncoderNeck", templates="imagenet", prompt="whole"),
    regions=dict(epsilon=0.7, min_samples=3),
    resolution=224,
    times_cls=["pascal_voc_20", "pascal_voc_20@cliptrase"],
)

# CLIP's own preprocessing, as published; with whole=True (and batches of 1) nothing of an image is cut off
clip_pipeline = [
    dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation"),
    dict(type="LoadLabelMap"),
    dict(type="CLIPCrop", size=224),
    dict(type="PackSegInputs", meta_keys=("img_path", "seg_map_path", "ori_shape", "img_shape", "clip_crop")),
]
benchmark_pipeline = clip_pipeline  # of tools/test.py --benchmarks
