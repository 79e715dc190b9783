"""H-CLIP with the relation that the papers write, T + alpha * f4(f3(T)), instead of the published code's."""

_base_ = ["./hclip_vitb16_coco-stuff.py"]

model = dict(backbone=dict(adapter=dict(relation=dict(_delete_=True, type="mlp"))))
