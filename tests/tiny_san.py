"""The entries that make MMSegmentation's SAN small."""

from __future__ import annotations

TINY_SAN = dict(
    image_encoder=dict(
        img_size=(32, 32), patch_size=16, embed_dims=32, num_layers=3, num_heads=2, out_indices=(0, 1, 2)
    ),
    text_encoder=dict(embed_dims=16, num_layers=2, num_heads=2, output_dims=16),
    decode_head=dict(
        san_cfg=dict(
            clip_channels=32,
            embed_dims=24,
            num_queries=5,
            cfg_encoder=dict(num_encode_layer=4, num_heads=2),
            fusion_index=[0, 1, 2, 3],
            cfg_decoder=dict(num_heads=2, embed_channels=16, mlp_channels=16),
        ),
        deep_supervision_idxs=[3],
        maskgen_cfg=dict(sos_token_num=5, num_layers=1, embed_dims=32, num_heads=2, out_dims=16),
    ),
)
