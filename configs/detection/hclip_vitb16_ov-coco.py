"""OV-COCO with H-CLIP's adapters in both towers."""

_base_ = ["./frozen_vitb16_ov-coco.py"]

model = dict(
    backbone=dict(
        adapter=dict(type="POP", block_size=128, orthogonal=("text",), relation=dict(type="linear")),
        checkpoint_text="auto",
    ),
    # the names are encoded at every step: one template, as in segmentation, and not ViLD's 63
    text_encoder=dict(templates="scene"),
)
paper = dict(row="H-CLIP", AP50=dict(novel=25.1, base=42.9))
val_evaluator = dict(paper=paper["AP50"])
test_evaluator = val_evaluator
