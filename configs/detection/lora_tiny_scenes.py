"""The detector on the scenes with LoRA in both towers."""

_base_ = ["./hclip_tiny_scenes.py"]

model = dict(backbone=dict(adapter=dict(_delete_=True, type="LoRA", rank=16)))
# the last image block is used without its attention, so LoRA of its q and k never gets a gradient
find_unused_parameters = True
