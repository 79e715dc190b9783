"""Plain patches of the embedded tiny CLIP on its scenes."""

_base_ = ["./cliptrase_tiny_scenes.py"]

model = dict(backbone=dict(attention="clip"), regions=None)
