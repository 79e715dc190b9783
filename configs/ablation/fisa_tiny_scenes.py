"""The rows of FISA's main ablation on the embedded tiny CLIP and its scenes, for tools/ablate.py.

Each row is `base` with another `model.backbone`. The proposals are those of configs/fisa/proposals_tiny_scenes.py,
which has to be trained first; all rows and seeds share them.
"""

base = "configs/fisa/fisa_tiny_scenes.py"
metric = dict(
    title="PQ",
    train="coco_panoptic/PQ_seen",
    held_out="coco_panoptic/PQ_unseen",
    paper=("figures", "ADE150 PQ"),
    printed="PQ, ViT-L/14-336 on ADE20K, 10k iterations",
)

rows = {
    "baseline": dict(
        title="Baseline: CLIP frozen",
        config="configs/fisa/baseline_vitl14-336_swin-b_coco-panoptic.py",
        backbone=dict(seve=None, distribution_adapter=None, tuning="none"),
    ),
    "seve": dict(
        title="+ SEVE",
        config="configs/fisa/seve_vitl14-336_swin-b_coco-panoptic.py",
        backbone=dict(tuning="none"),
    ),
    "full": dict(
        title="+ SEVE, all of the image tower trained",
        config="configs/fisa/seve-full_vitl14-336_swin-b_coco-panoptic.py",
        backbone=dict(tuning="full"),
    ),
    "fisa": dict(
        title="FISA: + SEVE + SIMO",
        config="configs/fisa/fisa-10k_vitl14-336_swin-b_coco-panoptic.py",
        backbone=dict(tuning="queries"),
    ),
}

# what the paper's order says, as (sentence, row that should be above, row below), on held-out names
claims = [
    ("FISA above the baseline", "fisa", "baseline"),
    ("FISA above full tuning", "fisa", "full"),
    ("FISA above SEVE alone", "fisa", "seve"),
]
