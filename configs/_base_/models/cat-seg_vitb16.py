"""CAT-Seg on CLIP ViT-B/16: H-CLIP's model with q and v of both towers trained whole instead of POP."""

_base_ = ["./hclip_vitb16.py"]

benchmark_style = "cat-seg"  # whose published class lists and metrics benchmarks take
model = dict(backbone=dict(adapter=dict(_delete_=True, type="TrainedProjections", projections=("q", "v"))))
# the last image block is used without its attention, so its q never gets a gradient
find_unused_parameters = True
