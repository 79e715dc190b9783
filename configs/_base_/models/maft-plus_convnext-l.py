"""MAFT+ on open_clip's ConvNeXt-L at 320, in the form that the paper writes."""

_base_ = ["./mask2former.py"]

benchmark_style = "maft-plus"  # whose published class lists and metrics benchmarks take
model = dict(
    type="MAFTPlus",
    data_preprocessor=dict(
        mean=[122.7709383, 116.7460125, 104.09373615],  # CLIP's
        std=[68.5005327, 66.6321579, 70.32316305],
        **_base_.mask_preprocessor,
    ),
    backbone=dict(
        type="mmseg.MAFTPlusCLIP",
        clip=dict(
            model="convnext_large_d_320", pretrained="pretrained/convnext_large_d_320_laion2b_s29b_b131k_ft_soup.bin"
        ),
        frozen_stages=-1,
    ),
    head=dict(type="OpenVocabMask2FormerHead", **_base_.mask2former_head),
    text_encoder=dict(type="mmseg.TextEncoderNeck", templates="vild"),
    cdt=dict(type="paper", layers=2, heads=8),
    rc=dict(type="paper", grids=(1, 2, 4), weight=0.1),
    mask_aware_loss=dict(weight=1.0),
    criterion=dict(type="MaskClassificationLoss"),
    view=None,  # images are resized as they are loaded
    test_cfg=dict(object_threshold=0.2, overlap_threshold=0.7),
)
