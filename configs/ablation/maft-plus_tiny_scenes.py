"""The rows of MAFT+'s main ablation on the tiny ConvNeXt CLIP and its scenes, for tools/ablate.py.

Each row is `base` with other settings of its model.
"""

base = "configs/maft_plus/maft-plus_tiny_scenes.py"
metric = dict(
    title="mIoU",
    train="mIoU_seen",
    held_out="mIoU_unseen",
    paper=("mIoU", "A-150"),
    printed="mIoU, ConvNeXt-L on ADE20K-150, trained on COCO-Stuff",
)

rows = {
    "baseline": dict(
        title="CLIP frozen",
        config="configs/maft_plus/baseline_convnext-l_coco-stuff.py",
        backbone=dict(frozen_stages=4),
        model=dict(cdt=None, rc=None, mask_aware_loss=None),
    ),
    "cdt": dict(
        title="+ CDT",
        config="configs/maft_plus/cdt_convnext-l_coco-stuff.py",
        backbone=dict(frozen_stages=4),
        model=dict(rc=None),
    ),
    "rc": dict(
        title="+ RC",
        config="configs/maft_plus/rc_convnext-l_coco-stuff.py",
        backbone=dict(),
        model=dict(cdt=None),
    ),
    "maft-plus": dict(
        title="MAFT+: + CDT and RC",
        config="configs/maft_plus/maft-plus_convnext-l_coco-stuff.py",
        backbone=dict(),
    ),
    "maft-plus-published": dict(
        title="MAFT+ as its code was published",
        config="configs/maft_plus/maft-plus-published_convnext-l_coco-stuff.py",
        backbone=dict(),
        model=dict(cdt=dict(type="semantic"), rc=dict(type="published")),
    ),
}

# what the paper's order says, as (sentence, row that should be above, row below), on held-out names
claims = [
    ("MAFT+ above frozen CLIP", "maft-plus", "baseline"),
    ("CDT above frozen CLIP", "cdt", "baseline"),
    ("RC above frozen CLIP", "rc", "baseline"),
    ("MAFT+ above RC alone", "maft-plus", "rc"),
    ("MAFT+ above CDT alone", "maft-plus", "cdt"),
]
