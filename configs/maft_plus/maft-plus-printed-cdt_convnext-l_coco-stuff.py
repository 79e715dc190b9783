"""MAFT+ with content-dependent transfer as Eqs. 5 and 6 print it: no positions, and the norm that the text names."""

_base_ = ["./maft-plus_convnext-l_coco-stuff.py"]

model = dict(cdt=dict(type="printed"))
