"""FISA trained for 10k iterations, as the paper's ablations are."""

_base_ = ["./fisa_vitl14-336_swin-b_coco-panoptic.py"]

max_iters = 10000
param_scheduler = [
    dict(
        type="MultiStepLR",
        begin=0,
        end=max_iters,
        by_epoch=False,
        milestones=[int(0.9 * max_iters), int(0.95 * max_iters)],
        gamma=0.1,
    )
]
train_cfg = dict(max_iters=max_iters)
paper = dict(
    _delete_=True,
    table="ablation, 10k iterations",
    row="+ SEVE + SIMO; Distribution Adapter of 2 layers; ViT-L-14-336",
    figures={"ADE150 PQ": 27.5, "ADE150 mIoU": 36.2},
)
