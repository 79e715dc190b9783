"""H-CLIP with the relation as the paper prints it: T + alpha * f4(f3(T)) of the R behind the Cayley map.

The text tower's blocks are then orthogonal no longer.
"""

_base_ = ["./hclip_vitb16_coco-stuff.py"]

model = dict(backbone=dict(adapter=dict(relation=dict(_delete_=True, type="mlp"), relate="R")))
