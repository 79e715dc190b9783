"""FC-CLIP without its ensemble, as a row of MAFT+'s panoptic table: CLIP's scores alone name the masks."""

_base_ = ["./fc-clip_convnext-l_coco-panoptic.py"]

model = dict(ensemble=None)
paper = dict(
    _delete_=True,
    table="panoptic, ADE20K",
    row="FC-CLIP",
    figures={"ADE150 PQ": 21.9, "ADE150 SQ": 71.5, "ADE150 RQ": 26.4},
)
