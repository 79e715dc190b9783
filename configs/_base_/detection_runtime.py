"""The runtime of detection: MMDetection's registries, epochs instead of iterations."""

_base_ = ["./default_runtime.py"]

custom_imports = dict(imports=["hclip_mmseg", "hclip_mmseg.detection"], allow_failed_imports=False)
default_scope = "mmdet"  # parts that are shared with segmentation are registered under "mmseg."

default_hooks = dict(
    logger=dict(log_metric_by_epoch=True),
    checkpoint=dict(by_epoch=True, interval=1),
)
visualizer = dict(type="OpenVocabDetVisualizer")
log_processor = dict(by_epoch=True)
env_cfg = dict(cudnn_benchmark=False)  # images come in many sizes
