"""MAFT+ on open_clip's ConvNeXt-L at 320, in the form that the paper writes."""

data_preprocessor = dict(
    type="DetDataPreprocessor",
    mean=[122.7709383, 116.7460125, 104.09373615],  # CLIP's
    std=[68.5005327, 66.6321579, 70.32316305],
    bgr_to_rgb=True,
    pad_size_divisor=32,
    pad_mask=True,
    mask_pad_value=0,
    pad_seg=True,
    seg_pad_value=255,
    batch_augments=[
        dict(
            type="BatchFixedSizePad",
            size=(1024, 1024),
            img_pad_value=0,
            pad_mask=True,
            mask_pad_value=0,
            pad_seg=True,
            seg_pad_value=255,
        )
    ],
)
attention = dict(embed_dims=256, num_heads=8, dropout=0.0, batch_first=True)
model = dict(
    type="MAFTPlus",
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type="mmseg.MAFTPlusCLIP",
        clip=dict(
            model="convnext_large_d_320", pretrained="pretrained/convnext_large_d_320_laion2b_s29b_b131k_ft_soup.bin"
        ),
        frozen_stages=-1,
    ),
    head=dict(
        type="OpenVocabMask2FormerHead",
        feat_channels=256,
        out_channels=256,
        num_queries=100,
        num_transformer_feat_level=3,
        pixel_decoder=dict(
            type="MSDeformAttnPixelDecoder",
            num_outs=3,
            norm_cfg=dict(type="GN", num_groups=32),
            act_cfg=dict(type="ReLU"),
            encoder=dict(
                num_layers=6,
                layer_cfg=dict(
                    self_attn_cfg=dict(num_levels=3, num_points=4, **attention),
                    ffn_cfg=dict(
                        embed_dims=256,
                        feedforward_channels=1024,
                        num_fcs=2,
                        ffn_drop=0.0,
                        act_cfg=dict(type="ReLU", inplace=True),
                    ),
                ),
            ),
            positional_encoding=dict(num_feats=128, normalize=True),
        ),
        positional_encoding=dict(num_feats=128, normalize=True),
        transformer_decoder=dict(
            return_intermediate=True,
            num_layers=9,
            layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=attention,
                ffn_cfg=dict(
                    embed_dims=256,
                    feedforward_channels=2048,
                    num_fcs=2,
                    ffn_drop=0.0,
                    act_cfg=dict(type="ReLU", inplace=True),
                ),
            ),
            init_cfg=None,
        ),
    ),
    text_encoder=dict(type="mmseg.TextEncoderNeck", templates="vild"),
    cdt=dict(type="paper", layers=2, heads=8),
    rc=dict(type="paper", grids=(1, 2, 4), weight=0.1),
    mask_aware_loss=dict(weight=1.0),
    criterion=dict(type="MaskClassificationLoss"),
    view=(800, 1333),
    test_cfg=dict(object_threshold=0.2, overlap_threshold=0.7),
)
