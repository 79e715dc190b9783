"""LPOSS+: LPOSS, then the same over pixels."""

_base_ = ["./lposs_vitb16.py"]

model = dict(windowed=dict(smoothing=dict(type="PixelPropagation")))
paper = None
