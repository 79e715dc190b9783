"""H-CLIP, CLIP ViT-L/14 at 336 (24 x 24 patches), trained on COCO-Stuff 171 in crops of 384."""

_base_ = ["./hclip_vitb16_coco-stuff.py"]

model = dict(
    backbone=dict(
        clip=dict(model="ViT-L-14-336-quickgelu", pretrained="pretrained/ViT-L-14-336px.pt"),
        guidance_layers=(7, 15),
    ),
    decode_head=dict(text_channels=768),
    test_cfg=dict(clip_resolution=336),
)

paper = dict(
    _delete_=True,
    table="main results",
    row="H-CLIP, ViT-L/14",
    mIoU={"A-847": 16.5, "PC-459": 24.2, "A-150": 38.4, "PC-59": 64.1, "PAS-20": 97.7, "PAS-20b": 83.2},
)
