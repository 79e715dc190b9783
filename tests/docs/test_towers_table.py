"""The table of docs/towers.md names every model of open_clip, and says of each what trying it gives."""

from __future__ import annotations

import importlib.util
from importlib.metadata import version

import open_clip
import pytest
from miniature import REPOSITORY

SPEC = importlib.util.spec_from_file_location("towers_table", REPOSITORY / "docs/towers_table.py")
TABLE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(TABLE)
PAGE = TABLE.PAGE.read_text(encoding="utf-8")
ROWS = {line.split(" | ")[0].removeprefix("| "): line for line in PAGE.splitlines() if line.count(" | ") == 6}
# one of each kind; all of them are tried by the script
TRIED = (
    "ViT-B-32", "ViT-bigG-14", "ViT-B-16-SigLIP", "ViT-B-16-SigLIP2", "EVA01-g-14", "EVA02-B-16", "EVA02-E-14",
    "ViT-H-14-CLIPA", "ViT-L-14-worldwide", "MobileCLIP2-L-14", "MobileCLIP-B", "PE-Core-B-16", "ViTamin-B", "RN50",
    "coca_ViT-B-32", "convnext_base_w", "roberta-ViT-B-32", "swin_base_patch4_window7_224",
)  # fmt: skip


def test_every_model_of_this_release_is_listed():
    release = next(line for line in PAGE.splitlines() if line.startswith("open_clip "))
    listed = set(ROWS) - {TABLE.HEADINGS[0]}
    assert listed and len(listed & set(open_clip.list_models())) > 100
    if release == f"open_clip {version('open_clip_torch')}:":
        assert listed == set(open_clip.list_models()), "run python docs/towers_table.py"


@pytest.mark.parametrize("name", [name for name in TRIED if name in open_clip.list_models()])
def test_a_row_says_what_trying_the_model_gives(name):
    assert ROWS[name] == f"| {' | '.join(TABLE.row(name))} |", "run python docs/towers_table.py"
