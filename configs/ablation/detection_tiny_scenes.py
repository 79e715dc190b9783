"""The rows of the detection table on the embedded tiny CLIP and its scenes, for tools/ablate.py.

Each row is `base` with another `model.backbone`. Sizes are a quarter of the ViT-B/16 row's (`config`), as the tiny
CLIP's block size of 32 is of 128.
"""

base = "configs/detection/hclip_tiny_scenes.py"
metric = dict(
    title="AP50",
    train="AP50_base",
    held_out="AP50_novel",
    paper=("AP50", "novel"),
    printed="AP50 of novel names, ViT-B/16 on OV-COCO",
)

rows = {
    "frozen": dict(
        title="CLIP, frozen",
        config="configs/detection/frozen_vitb16_ov-coco.py",
        backbone=dict(adapter=None, train_positions=False),
    ),
    "lora": dict(
        title="LoRA",
        config="configs/detection/lora_vitb16_ov-coco.py",
        backbone=dict(adapter=dict(type="LoRA", rank=16)),
    ),
    "hclip": dict(
        title="H-CLIP",
        config="configs/detection/hclip_vitb16_ov-coco.py",
        backbone=dict(adapter=dict(type="POP", block_size=32, orthogonal=("text",), relation=dict(type="linear"))),
    ),
}

# what the paper's order says, as (sentence, row that should be above, row below), on held-out names
claims = [
    ("H-CLIP above LoRA", "hclip", "lora"),
    ("H-CLIP above frozen CLIP", "hclip", "frozen"),
    ("LoRA above frozen CLIP", "lora", "frozen"),
]
