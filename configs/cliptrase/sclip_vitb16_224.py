"""SCLIP, the column of CLIPtrase's table, CLIP ViT-B/16 at 224 pixels; its data is chosen by --benchmarks."""

_base_ = ["./cliptrase_vitb16_224.py"]

model = dict(backbone=dict(attention="sclip"), regions=None)
paper = dict(
    _delete_=True,
    row="SCLIP, ViT-B/16 at 224",
    pAcc={
        "COCO-Object": 49.05,
        "VOC21": 77.52,
        "PC-60": 49.24,
        "COCO-Stuff": 35.24,
        "PAS-20": 87.51,
        "PC-59": 55.69,
        "PC-459": 41.15,
        "A-150": 33.0,
        "A-847": 20.06,
    },
    mAcc={
        "COCO-Object": 59.43,
        "VOC21": 83.27,
        "PC-60": 51.55,
        "COCO-Stuff": 40.02,
        "PAS-20": 89.92,
        "PC-59": 52.58,
        "PC-459": 18.63,
        "A-150": 34.43,
        "A-847": 16.46,
    },
    fwIoU={
        "COCO-Object": 37.38,
        "VOC21": 66.46,
        "PC-60": 35.04,
        "COCO-Stuff": 24.42,
        "PAS-20": 79.21,
        "PC-59": 42.13,
        "PC-459": 32.72,
        "A-150": 23.44,
        "A-847": 14.55,
    },
    mIoU={
        "COCO-Object": 40.68,
        "VOC21": 49.54,
        "PC-60": 28.09,
        "COCO-Stuff": 21.0,
        "PAS-20": 77.58,
        "PC-59": 31.58,
        "PC-459": 8.48,
        "A-150": 14.46,
        "A-847": 5.43,
    },
)
