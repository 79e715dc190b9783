"""SCLIP with the embedded tiny CLIP on its scenes."""

_base_ = ["./cliptrase_tiny_scenes.py"]

benchmark_style = "sclip"
model = dict(backbone=dict(attention="sclip"), regions=None)
