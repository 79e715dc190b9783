"""OV-COCO with frozen CLIP ViT-B/16: everything behind the towers is trained, nothing in them."""

_base_ = [
    "../_base_/models/ov-faster-rcnn_vitb16.py",
    "../_base_/datasets/ov-coco_640x640.py",
    "../_base_/schedules/detection_3e.py",
    "../_base_/detection_runtime.py",
]

model = dict(roi_head=dict(base_names="ov_coco_48"))

paper = dict(table="OV-COCO, ViT-B/16", row="CLIP", AP50=dict(novel=21.6, base=36.4))
val_evaluator = dict(paper=paper["AP50"])
test_evaluator = val_evaluator
