"""H-CLIP with the paper's MLPs, T + alpha * f4(f3(T)), of the X before the Cayley map: text blocks stay orthogonal.

`hclip-mlp-printed_vitb16_coco-stuff.py` relates the R behind the map, as the paper prints it.
"""

_base_ = ["./hclip_vitb16_coco-stuff.py"]

model = dict(backbone=dict(adapter=dict(relation=dict(_delete_=True, type="mlp"))))
