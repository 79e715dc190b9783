"""FISA on CLIP ViT-L/14-336 at 896 x 896 and the proposals of a frozen Mask2Former with Swin-B."""

_base_ = ["./mask2former.py"]

num_things, num_stuff = 80, 53  # of the set that the proposals were trained on; its labels are not used

generator = dict(
    type="Mask2Former",
    backbone=dict(
        type="SwinTransformer",
        pretrain_img_size=384,
        embed_dims=128,
        depths=[2, 2, 18, 2],
        num_heads=[4, 8, 16, 32],
        window_size=12,
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
    ),
    panoptic_head=dict(
        type="Mask2FormerHead",
        in_channels=[128, 256, 512, 1024],
        strides=[4, 8, 16, 32],
        num_things_classes=num_things,
        num_stuff_classes=num_stuff,
        loss_cls=dict(type="CrossEntropyLoss", loss_weight=2.0, class_weight=[1.0] * (num_things + num_stuff) + [0.1]),
        **_base_.mask2former_head,
    ),
    panoptic_fusion_head=dict(type="MaskFormerFusionHead", num_things_classes=num_things, num_stuff_classes=num_stuff),
    init_cfg=dict(
        type="Pretrained", checkpoint="pretrained/mask2former_swin-b-p4-w12-384-in21k_8xb2-lsj-50e_coco-panoptic.pth"
    ),
)
model = dict(
    type="FISA",
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        **_base_.mask_preprocessor,
    ),
    generator=generator,
    backbone=dict(
        type="mmseg.FISACLIP",
        clip=dict(model="ViT-L-14-336-quickgelu", pretrained="pretrained/ViT-L-14-336px.pt"),
        resolution=896,
        seve=dict(inner_width=224, heads=4),
        distribution_adapter=dict(depth=2),
        tuning="queries",
    ),
    text_encoder=dict(type="mmseg.TextEncoderNeck", templates="vild"),
    test_cfg=dict(object_threshold=0.8, overlap_threshold=0.8),
)
# of images of the benchmarks, as of those of the config's own test data
benchmark_transforms = [dict(type="Resize", scale=(1333, 800), keep_ratio=True)]
