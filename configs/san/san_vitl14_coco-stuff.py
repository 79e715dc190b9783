"""SAN on CLIP ViT-L/14 at 336 as MMSegmentation has it, trained on COCO-Stuff 171: for MMSegmentation's own weights."""

_base_ = ["./san_vitb16_coco-stuff.py"]

model = dict(
    encoder_resolution=0.7,
    image_encoder=dict(
        img_size=(336, 336), patch_size=14, embed_dims=1024, num_layers=18, num_heads=16, out_indices=(5, 11, 17)
    ),
    text_encoder=dict(embed_dims=768, num_heads=12, output_dims=768),
    decode_head=dict(
        san_cfg=dict(clip_channels=1024, cfg_decoder=dict(num_heads=16)),
        maskgen_cfg=dict(num_layers=6, embed_dims=1024, num_heads=16, out_dims=768),
    ),
)
paper = dict(
    _delete_=True,
    table="main results",
    row="SAN, ViT-L/14",
    mIoU={"A-847": 12.4, "PC-459": 15.7, "A-150": 32.1, "PC-59": 57.7, "PAS-20": 94.6},
)
