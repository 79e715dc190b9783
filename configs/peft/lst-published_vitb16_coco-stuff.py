"""LST as it was published: the side network's normed result stands in the place of the last block's."""

_base_ = ["./lst_vitb16_coco-stuff.py"]

model = dict(backbone=dict(adapter=dict(form="in_place")))
