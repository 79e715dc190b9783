"""CLIPtrase, CLIP ViT-B/16 at 336 pixels, and its published figures; without data."""

_base_ = ["./models/cliptrase_vitb16_336.py", "./training_free_runtime.py"]

paper = dict(
    row="CLIPtrase, ViT-B/16 at 336",
    pAcc={
        "COCO-Object": 50.01,
        "VOC21": 79.93,
        "PC-60": 53.21,
        "COCO-Stuff": 40.14,
        "PAS-20": 89.51,
        "PC-59": 60.15,
        "PC-459": 45.77,
        "A-150": 39.92,
        "A-847": 26.73,
    },
    mAcc={
        "COCO-Object": 62.55,
        "VOC21": 85.24,
        "PC-60": 56.43,
        "COCO-Stuff": 45.09,
        "PAS-20": 91.77,
        "PC-59": 57.47,
        "PC-459": 20.72,
        "A-150": 37.75,
        "A-847": 17.99,
    },
    fwIoU={
        "COCO-Object": 38.24,
        "VOC21": 69.1,
        "PC-60": 38.76,
        "COCO-Stuff": 27.96,
        "PAS-20": 82.15,
        "PC-59": 46.64,
        "PC-459": 36.67,
        "A-150": 29.17,
        "A-847": 20.3,
    },
    mIoU={
        "COCO-Object": 44.84,
        "VOC21": 53.04,
        "PC-60": 30.79,
        "COCO-Stuff": 24.06,
        "PAS-20": 81.2,
        "PC-59": 34.92,
        "PC-459": 10.11,
        "A-150": 17.04,
        "A-847": 5.89,
    },
)
custom_hooks = [dict(type="PrintedFiguresHook")]
