"""FISA with SEVE as Eqs. 3 and 4 print it: what a mask token finds among the classes stands in its place."""

_base_ = ["./fisa_vitl14-336_swin-b_coco-panoptic.py"]

model = dict(backbone=dict(seve=dict(_delete_=True, form="printed", inner_width=224)))
