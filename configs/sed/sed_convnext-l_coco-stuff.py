"""SED on CLIP ConvNeXt-L, trained on COCO-Stuff 171."""

_base_ = ["./sed_convnext-b_coco-stuff.py"]

model = dict(
    backbone=dict(clip=dict(model="convnext_large_d_320", pretrained="laion2b_s29b_b131k_ft_soup")),
    decode_head=dict(text_channels=768, decoder=dict(guidance_channels=(768, 384, 192))),
)

paper = dict(
    row="SED, ConvNeXt-L",
    mIoU={"A-847": 13.9, "PC-459": 22.6, "A-150": 35.2, "PC-59": 60.6, "PAS-20": 96.1},
)
