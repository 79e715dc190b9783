"""CLIPtrase, CLIP ViT-B/16 at 336 pixels; nothing is trained. Its data is chosen by --benchmarks."""

_base_ = ["../_base_/cliptrase_vitb16_336.py"]

# of one image outside any data set, for MMSegmentation's own inference_model
test_pipeline = [
    dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation"),
    dict(type="mmseg.PackSegInputs"),
]
