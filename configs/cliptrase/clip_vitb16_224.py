"""CLIP, the column of CLIPtrase's table, CLIP ViT-B/16 at 224 pixels; its data is chosen by --benchmarks."""

_base_ = ["./cliptrase_vitb16_224.py"]

model = dict(backbone=dict(attention="clip"), regions=None)
paper = dict(
    _delete_=True,
    row="CLIP, ViT-B/16 at 224",
    pAcc={
        "COCO-Object": 23.45,
        "VOC21": 42.21,
        "PC-60": 21.84,
        "COCO-Stuff": 10.85,
        "PAS-20": 58.5,
        "PC-59": 24.6,
        "PC-459": 16.94,
        "A-150": 5.2,
        "A-847": 2.69,
    },
    mAcc={
        "COCO-Object": 20.58,
        "VOC21": 47.21,
        "PC-60": 21.22,
        "COCO-Stuff": 12.02,
        "PAS-20": 58.35,
        "PC-59": 21.78,
        "PC-459": 4.02,
        "A-150": 7.61,
        "A-847": 3.13,
    },
    fwIoU={
        "COCO-Object": 14.39,
        "VOC21": 30.47,
        "PC-60": 11.02,
        "COCO-Stuff": 5.66,
        "PAS-20": 44.02,
        "PC-59": 13.29,
        "PC-459": 9.31,
        "A-150": 2.59,
        "A-847": 1.21,
    },
    mIoU={
        "COCO-Object": 12.98,
        "VOC21": 17.54,
        "PC-60": 8.8,
        "COCO-Stuff": 4.68,
        "PAS-20": 41.88,
        "PC-59": 9.7,
        "PC-459": 1.92,
        "A-150": 2.25,
        "A-847": 0.76,
    },
)
