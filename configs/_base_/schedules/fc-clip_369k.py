"""FC-CLIP: 368,750 iterations of AdamW in bf16, batches of 16 over all processes, as Mask2Former on COCO panoptic."""

_base_ = ["./maft-plus_60k.py"]

max_iters = 368750
optim_wrapper = dict(optimizer=dict(weight_decay=0.05))
param_scheduler = [
    dict(type="MultiStepLR", milestones=[327778, 355092], gamma=0.1, begin=0, end=max_iters, by_epoch=False)
]
train_cfg = dict(max_iters=max_iters)
auto_scale_lr = dict(base_batch_size=16)
