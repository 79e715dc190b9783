"""ResCLIP with the settings that its authors chose for each data set: the published form of its printed row."""

_base_ = ["./resclip_vitb16.py"]

model = dict(
    backbone=dict(
        attention=dict(
            _delete_=True,
            type="ResidualAttention",
            form="naclip",
            tau=2.0,
            weight={"default": 0.4, "PAS-20": 0.6, "VOC21": 0.3, "PC-60": 0.3, "A-150": 0.3, "Cityscapes": 0.2},
            feedback=dict(
                tau={"default": 1.8, "PAS-20": 2.1, "VOC21": 2.2, "A-150": 2.1, "Cityscapes": 2.1},
                weight={"default": 0.7, "PAS-20": 0.6, "Cityscapes": 0.6},
                threshold={
                    "default": 0.25,
                    "PAS-20": 0.1,
                    "VOC21": 0.5,
                    "PC-60": 0.3,
                    "COCO-Object": 0.11,
                    "COCO-Stuff": 0.11,
                    "Cityscapes": 0.1,
                },
            ),
        ),
    ),
)
