"""CLIPtrase with regions of DINOv2's patches, whose weights are given by you."""

_base_ = ["./cliptrase_vitb16_224.py"]

model = dict(
    regions=dict(
        features=dict(
            type="TimmPatchFeatures",
            model="vit_base_patch14_dinov2",
            weights="pretrained/dinov2_vitb14_pretrain.pth",
        )
    )
)
paper = dict(
    _delete_=True,
    table="self-correlation",
    row="CLIPtrase with DINOv2 masks",
    mIoU={"PAS-20": 80.23, "A-150": 15.79, "COCO-Stuff": 21.82, "PC-59": 32.55},
)
