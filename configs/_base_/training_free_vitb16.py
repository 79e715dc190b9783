"""Training-free segmentation on CLIP ViT-B/16; its data is chosen by --benchmarks."""

_base_ = ["./models/training_free_vitb16.py", "./training_free_runtime.py"]

# of one image outside any data set, for MMSegmentation's own inference_model
test_pipeline = [
    dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation"),
    dict(type="mmseg.PackSegInputs"),
]
