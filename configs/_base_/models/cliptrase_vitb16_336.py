"""CLIPtrase on CLIP ViT-B/16 at 336 pixels; nothing is trained."""

_base_ = ["./cliptrase_vitb16_224.py"]

model = dict(regions=dict(epsilon=1.1, min_samples=7), resolution=336)
clip_pipeline = [
    dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation"),
    dict(type="LoadLabelMap"),
    dict(type="CLIPCrop", size=336),
    dict(type="PackSegInputs", meta_keys=("img_path", "seg_map_path", "ori_shape", "img_shape", "clip_crop")),
]
benchmark_pipeline = clip_pipeline  # of tools/test.py --benchmarks
