"""The rows of CLIPtrase's tables of self-correlation: what each changes, and that it segments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from miniature import REPOSITORY
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from tiny_models import clip_geometry
from tiny_training_free import NAMES, textured_images

ROWS = {
    "scr-none": {"backbone.attention": "clip", "regions": None},
    "scr-own": {"reach": "own", "regions": None},
    "scr-inner": {"regions": None},
    "scr-cosine": {"backbone.similarity": "cosine", "regions": None},
    "scr-labels": {"backbone.similarity": "cosine", "reach": "labels", "regions": None},
    "cliptrase-inner": {"backbone.correlation.similarity": "inner"},
    "cliptrase-dinov2": {
        "regions.features.type": "TimmPatchFeatures",
        "regions.features.model": "vit_base_patch14_dinov2",
        "regions.features.weights": "pretrained/dinov2_vitb14_pretrain.pth",
    },
}


def flat(settings: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{where}{key}.")
        else:
            yield where + key, value


def read(name: str) -> Config:
    return Config.fromfile(REPOSITORY / f"configs/cliptrase/{name}_vitb16_224.py")


@pytest.mark.parametrize("name", ROWS)
def test_a_row_changes_what_it_says_and_nothing_else(name):
    own, base = read(name), read("cliptrase")
    settings = dict(flat(base.model.to_dict()))
    changed = {key: value for key, value in flat(own.model.to_dict()) if key not in settings or settings[key] != value}
    assert changed == ROWS[name]
    assert own.benchmark_pipeline == base.benchmark_pipeline, "whose label maps reach 'labels' needs"


@pytest.mark.parametrize("name", [name for name in ROWS if name != "cliptrase-dinov2"])
@torch.no_grad()
def test_a_row_segments(name):
    init_default_scope("mmseg")
    model = read(name).model
    model.backbone.clip = dict(model=clip_geometry())
    model.text_encoder.update(templates="scene", vocabulary=NAMES)
    model.resolution = 64
    torch.manual_seed(0)
    labels = torch.arange(64).repeat(64, 1) // 32
    sample = SegDataSample(gt_sem_seg=PixelData(data=labels[None]), metainfo=dict(ori_shape=(64, 64)))
    found = MODELS.build(model).eval().predict(textured_images(1), [sample])[0].pred_sem_seg.data
    assert found.shape == (1, 64, 64) and int(found.max()) < len(NAMES)


def test_without_dinov2_s_weights_it_says_where_they_were_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    init_default_scope("mmseg")
    model = read("cliptrase-dinov2").model
    model.backbone.clip = dict(model=clip_geometry())
    with pytest.raises(FileNotFoundError, match="no weights of vit_base_patch14_dinov2: looked for at .*dinov2_vitb14"):
        MODELS.build(model)
