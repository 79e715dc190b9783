"""NACLIP with PAMR."""

_base_ = ["./naclip_vitb16.py"]

model = dict(windowed=dict(smoothing=dict(type="PAMR", steps=10, dilations=(8, 16))))
paper = dict(
    _delete_=True,
    row="NACLIP + PAMR, ViT-B/16",
    mIoU={
        "VOC21": 64.07,
        "PC-60": 34.99,
        "COCO-Object": 36.19,
        "PAS-20": 83.03,
        "PC-59": 38.35,
        "COCO-Stuff": 25.69,
        "Cityscapes": 38.27,
        "A-150": 19.05,
    },
)
