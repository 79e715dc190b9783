"""CAT-Seg, CLIP ViT-L/14 at 336, trained on COCO-Stuff 171 in crops of 384."""

_base_ = ["./cat-seg_vitb16_coco-stuff.py"]

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
    row="CAT-Seg, ViT-L/14",
    mIoU={"A-847": 16.0, "PC-459": 23.8, "A-150": 37.9, "PC-59": 63.3, "PAS-20": 97.0, "PAS-20b": 82.5},
)
