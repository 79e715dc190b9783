"""The CLIM row with batch norms over all processes, as CLIM trains it: statistics of 64 images on 8 GPUs."""

_base_ = ["./clim_vitb16_ov-coco.py"]

norm = dict(type="SyncBN", requires_grad=True)
model = dict(
    neck=[
        dict(type="PatchPyramid", channels=768, norm_cfg=norm),
        dict(type="FPN", in_channels=[768, 768, 768, 768], out_channels=256, norm_cfg=norm, num_outs=5),
    ],
    roi_head=dict(bbox_head=dict(norm_cfg=dict(_delete_=True, **norm))),
)
