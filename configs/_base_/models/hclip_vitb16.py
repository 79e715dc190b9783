"""H-CLIP on CLIP ViT-B/16 at 384: 24 x 24 patches."""

benchmark_style = "h-clip"  # whose published class lists and metrics benchmarks take
data_preprocessor = dict(
    type="SegDataPreProcessor",
    mean=[122.7709383, 116.7460125, 104.09373615],
    std=[68.5005327, 66.6321579, 70.32316305],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(384, 384),
)
model = dict(
    type="OpenVocabSegmentor",
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type="HCLIPBackbone",
        clip=dict(model="ViT-B-16-quickgelu", pretrained="pretrained/ViT-B-16.pt"),
        adapter=dict(type="POP", block_size=128, orthogonal=("text",), relation=dict(type="linear")),
        guidance_layers=(3, 7),
        guidance_channels=(256, 128),
    ),
    text_encoder=dict(type="TextEncoderNeck", templates="scene"),
    decode_head=dict(type="CostAggregationHead", text_channels=512),
    test_cfg=dict(mode="slide_whole", canvas=640, window=384, overlap=0.333, clip_resolution=384),
)
