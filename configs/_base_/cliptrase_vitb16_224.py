"""CLIPtrase, CLIP ViT-B/16 at 224 pixels, and its published figures; without data."""

_base_ = ["./models/cliptrase_vitb16_224.py", "./training_free_runtime.py"]

paper = dict(
    row="CLIPtrase, ViT-B/16 at 224",
    pAcc={
        "COCO-Object": 50.08,
        "VOC21": 78.63,
        "PC-60": 52.14,
        "COCO-Stuff": 38.9,
        "PAS-20": 89.68,
        "PC-59": 58.94,
        "PC-459": 44.18,
        "A-150": 38.57,
        "A-847": 25.45,
    },
    mAcc={
        "COCO-Object": 62.5,
        "VOC21": 84.11,
        "PC-60": 56.08,
        "COCO-Stuff": 44.47,
        "PAS-20": 91.4,
        "PC-59": 57.08,
        "PC-459": 21.53,
        "A-150": 39.17,
        "A-847": 18.78,
    },
    fwIoU={
        "COCO-Object": 38.19,
        "VOC21": 67.67,
        "PC-60": 37.61,
        "COCO-Stuff": 26.87,
        "PAS-20": 82.49,
        "PC-59": 45.28,
        "PC-459": 35.22,
        "A-150": 27.96,
        "A-847": 18.99,
    },
    mIoU={
        "COCO-Object": 43.56,
        "VOC21": 50.88,
        "PC-60": 29.87,
        "COCO-Stuff": 22.84,
        "PAS-20": 80.95,
        "PC-59": 33.83,
        "PC-459": 9.36,
        "A-150": 16.35,
        "A-847": 6.31,
    },
)
custom_hooks = [dict(type="PrintedFiguresHook")]
