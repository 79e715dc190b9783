"""What every run without training shares."""

_base_ = ["./default_runtime.py"]

custom_imports = dict(imports=["hclip_mmseg", "hclip_mmseg.training_free"], allow_failed_imports=False)
test_cfg = dict(type="TestLoop")
model_wrapper_cfg = dict(type="UntrainedDistributed")
