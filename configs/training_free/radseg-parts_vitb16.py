"""RADSeg's three parts on CLIP: recursive attention, global aggregation, prompt denoising."""

_base_ = ["../_base_/training_free_vitb16.py"]

model = dict(
    backbone=dict(attention=dict(type="RecursiveAttention", scale=10.0)),
    protocol=dict(type="proxyclip"),
    windowed=dict(stitch=True, aggregation=dict(type="GlobalAggregation", scale=10.0), absent_below=0.5),
)
