"""FISA with LoRA of rank 128 on q, k, v and out of the image tower in the place of SIMO."""

_base_ = ["./fisa-10k_vitl14-336_swin-b_coco-panoptic.py"]

model = dict(backbone=dict(tuning=dict(_delete_=True, type="LoRA", rank=128), checkpoint_blocks=True))
paper = dict(_delete_=True, table="ablation, 10k iterations", row="LoRA rank 128", figures={"ADE150 PQ": 25.4})
