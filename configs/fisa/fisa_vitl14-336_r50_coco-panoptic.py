"""FISA on the proposals of Mask2Former with ResNet-50."""

_base_ = ["./fisa_vitl14-336_swin-b_coco-panoptic.py"]

model = dict(
    generator=dict(
        backbone=dict(
            _delete_=True,
            type="ResNet",
            depth=50,
            out_indices=(0, 1, 2, 3),
            norm_cfg=dict(type="BN", requires_grad=False),
            norm_eval=True,
            style="pytorch",
        ),
        panoptic_head=dict(in_channels=[256, 512, 1024, 2048]),
        init_cfg=dict(checkpoint="pretrained/mask2former_r50_8xb2-lsj-50e_coco-panoptic.pth"),
    )
)
paper = dict(
    _delete_=True,
    table="mask generators",
    row="ResNet-50",
    figures={"ADE150 PQ": 26.1, "ADE150 mIoU": 35.9, "ADE847 mIoU": 15.8, "PC59 mIoU": 61.5, "PC459 mIoU": 22.9},
)
