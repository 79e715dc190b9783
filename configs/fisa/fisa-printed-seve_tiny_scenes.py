"""FISA with SEVE as Eqs. 3 and 4 print it, on the scenes."""

_base_ = ["./fisa_tiny_scenes.py"]

model = dict(backbone=dict(seve=dict(_delete_=True, form="printed", inner_width=48)))
