"""H-CLIP's ablations on the embedded tiny CLIP and its scenes, for tools/ablate.py.

Each row is `base` with another `model.backbone`. Sizes are a quarter of the ViT-B/16 row's (`config`), as the tiny
CLIP's block size of 32 is of 128: of its widths, 192 and 128, that is the same part.
"""

base = "configs/hclip/hclip_tiny_scenes.py"

pop = dict(type="POP", block_size=32, orthogonal=("text",), relation=dict(type="linear"))

rows = {
    "freeze": dict(
        title="Freeze",
        config="configs/peft/freeze_vitb16_coco-stuff.py",
        backbone=dict(adapter=None, train_positions=False),
    ),
    "lora": dict(
        title="LoRA",
        config="configs/peft/lora_vitb16_coco-stuff.py",
        backbone=dict(adapter=dict(type="LoRA", rank=16)),
    ),
    "oft": dict(
        title="OFT",
        config="configs/peft/oft_vitb16_coco-stuff.py",
        backbone=dict(adapter=dict(type="OFT", block_size=32)),
    ),
    "vpt": dict(
        title="VPT",
        config="configs/peft/vpt_vitb16_coco-stuff.py",
        backbone=dict(adapter=dict(type="VPT", length=38)),
    ),
    "adapter": dict(
        title="Adapter",
        config="configs/peft/adapter_vitb16_coco-stuff.py",
        backbone=dict(adapter=dict(type="HoulsbyAdapter", bottleneck=32)),
    ),
    "lst": dict(
        title="LST",
        config="configs/peft/lst_vitb16_coco-stuff.py",
        backbone=dict(adapter=dict(type="LST", image_side=64, text_side=56, head_width=8), train_positions=False),
    ),
    "ssf": dict(
        title="SSF",
        config="configs/peft/ssf_vitb16_coco-stuff.py",
        backbone=dict(adapter=dict(type="SSF")),
    ),
    "cat-seg": dict(
        title="CAT-Seg (q and v whole)",
        config="configs/cat_seg/cat-seg_vitb16_coco-stuff.py",
        backbone=dict(adapter=dict(type="TrainedProjections", projections=("q", "v"))),
    ),
    "pop": dict(
        title="POP only",
        config="configs/hclip/pop_vitb16_coco-stuff.py",
        backbone=dict(adapter=dict(pop, relation=None)),
    ),
    "dcrc": dict(
        title="DCRC only",
        config="configs/hclip/dcrc_vitb16_coco-stuff.py",
        backbone=dict(adapter=dict(pop, type="DCRC")),
    ),
    "hclip": dict(
        title="POP + DCRC (H-CLIP, q=128)",
        config="configs/hclip/hclip_vitb16_coco-stuff.py",
        backbone=dict(adapter=pop),
    ),
    "hclip-mlp": dict(
        title="H-CLIP, MLP relation",
        config="configs/hclip/hclip-mlp_vitb16_coco-stuff.py",
        backbone=dict(adapter=dict(pop, relation=dict(type="mlp"))),
    ),
    "hclip-q64": dict(
        title="H-CLIP, q=64",
        config="configs/hclip/hclip-q64_vitb16_coco-stuff.py",
        backbone=dict(adapter=dict(pop, block_size=16)),
    ),
    "hclip-q256": dict(
        title="H-CLIP, q=256",
        config="configs/hclip/hclip-q256_vitb16_coco-stuff.py",
        backbone=dict(adapter=dict(pop, block_size=64)),
    ),
    "hclip-orthogonal-none": dict(
        title="H-CLIP, no orthogonality",
        config="configs/hclip/hclip-orthogonal-none_vitb16_coco-stuff.py",
        backbone=dict(adapter=dict(pop, orthogonal=())),
    ),
    "hclip-orthogonal-both": dict(
        title="H-CLIP, orthogonal in both towers",
        config="configs/hclip/hclip-orthogonal-both_vitb16_coco-stuff.py",
        backbone=dict(adapter=dict(pop, orthogonal=("image", "text"))),
    ),
}

# what the paper's order says, as (sentence, row that should be above, row below), on held-out names
claims = [
    ("text-only orthogonality above none", "hclip", "hclip-orthogonal-none"),
    ("text-only orthogonality above both", "hclip", "hclip-orthogonal-both"),
    ("POP + DCRC above POP", "hclip", "pop"),
    ("POP + DCRC above DCRC", "hclip", "dcrc"),
    ("H-CLIP above LoRA", "hclip", "lora"),
    ("H-CLIP above OFT", "hclip", "oft"),
    ("H-CLIP above CAT-Seg", "hclip", "cat-seg"),
    ("H-CLIP above Freeze", "hclip", "freeze"),
]
