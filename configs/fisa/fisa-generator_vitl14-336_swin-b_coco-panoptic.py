"""FISA with the mask generator trained as well."""

_base_ = ["./fisa-10k_vitl14-336_swin-b_coco-panoptic.py"]

model = dict(train_generator=True)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"generator.backbone": dict(lr_mult=0.1)}))
paper = dict(
    _delete_=True, table="ablation, 10k iterations", row="mask generator adapted too", figures={"ADE150 PQ": 21.9}
)
