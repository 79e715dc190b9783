"""H-CLIP with the linear relation that the paper prints (Eq. 18): T + alpha * (T x_3 S_3 x_4 S_4) of the R."""

_base_ = ["./hclip_vitb16_coco-stuff.py"]

model = dict(backbone=dict(adapter=dict(relation=dict(_delete_=True, type="residual_linear"), relate="R")))
