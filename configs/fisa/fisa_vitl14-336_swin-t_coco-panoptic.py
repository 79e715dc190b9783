"""FISA on the proposals of Mask2Former with Swin-T."""

_base_ = ["./fisa_vitl14-336_swin-b_coco-panoptic.py"]

model = dict(
    generator=dict(
        backbone=dict(
            pretrain_img_size=224, embed_dims=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7
        ),
        panoptic_head=dict(in_channels=[96, 192, 384, 768]),
        init_cfg=dict(checkpoint="pretrained/mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic.pth"),
    )
)
paper = dict(
    _delete_=True,
    table="mask generators",
    row="Swin-T",
    figures={"ADE150 PQ": 26.1, "ADE150 mIoU": 36.6, "ADE847 mIoU": 16.1, "PC59 mIoU": 61.7, "PC459 mIoU": 23.2},
)
