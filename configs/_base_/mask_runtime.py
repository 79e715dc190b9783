"""The runtime of mask classification: MMDetection's registries."""

_base_ = ["./default_runtime.py"]

custom_imports = dict(
    imports=["hclip_mmseg", "hclip_mmseg.mask_classification.fisa", "hclip_mmseg.mask_classification.maft_plus"],
    allow_failed_imports=False,
)
default_scope = "mmdet"  # parts that are shared with segmentation are registered under "mmseg."

visualizer = dict(type="mmseg.OpenVocabPanopticVisualizer")
env_cfg = dict(cudnn_benchmark=False)  # images come in many sizes
