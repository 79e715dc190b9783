"""SAN on CLIP ViT-B/16 as MMSegmentation has it, trained on COCO-Stuff 171: for MMSegmentation's own weights."""

_base_ = ["mmseg::_base_/models/san_vit-b16.py", "../_base_/default_runtime.py"]

benchmark_style = "san"  # whose published class lists and metrics benchmarks take
model = dict(
    type="OpenVocabSAN",
    pretrained=None,
    text_encoder=dict(type="OpenVocabCLIPTextEncoder"),
    decode_head=dict(num_classes=171),
    test_cfg=dict(mode="whole"),
)
test_pipeline = [
    dict(type="LoadImageFromFile", imdecode_backend="pillow", color_type="color_ignore_orientation"),
    dict(type="mmseg.PublishedResize", short_side=640, max_size=2560),
    dict(type="mmseg.PackSegInputs"),
]
benchmark_transforms = [dict(type="mmseg.PublishedResize", short_side=640, max_size=2560)]
test_cfg = dict(type="TestLoop")
paper = dict(
    table="main results",
    row="SAN, ViT-B/16",
    mIoU={"A-847": 10.1, "PC-459": 12.6, "A-150": 27.5, "PC-59": 53.8, "PAS-20": 94.0},
)
