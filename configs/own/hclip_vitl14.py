"""H-CLIP, CLIP ViT-L/14 at 336, for data of your own."""

_base_ = ["./hclip_vitb16.py"]

model = dict(
    backbone=dict(
        clip=dict(model="ViT-L-14-336-quickgelu", pretrained="pretrained/ViT-L-14-336px.pt"),
        guidance_layers=(7, 15),
    ),
    decode_head=dict(text_channels=768),
    test_cfg=dict(clip_resolution=336),
)
