"""A tiny random training-free segmentor."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_models import PREPROCESSOR, clip_geometry, randomise

from hclip_mmseg.training_free import TrainingFreeSegmentor
from hclip_mmseg.training_free.refinement import Evidence

NAMES = ("cat", "grass", "traffic light", "sky", "person")
PIXELS = {**PREPROCESSOR, "size": None}
REGIONS = dict(epsilon=0.9, min_samples=3)


def tiny_backbone_config(**changes: Any) -> dict[str, Any]:
    return dict(type="TrainingFreeBackbone", clip=dict(model=clip_geometry()), **changes)


def tiny_training_free(
    seed: int = 0, attention: str = "cliptrase", backbone: dict | None = None, **changes: Any
) -> TrainingFreeSegmentor:
    """64 pixels, patch 8; its towers random enough for tokens that differ."""
    init_default_scope("mmseg")
    torch.manual_seed(seed)
    config = dict(
        type="TrainingFreeSegmentor",
        data_preprocessor=PIXELS,
        backbone=tiny_backbone_config(attention=attention, **(backbone or {})),
        text_encoder=dict(type="TextEncoderNeck", vocabulary=NAMES, templates="vild"),
        resolution=64,
        regions=REGIONS if attention == "cliptrase" else None,
    )
    model = MODELS.build({**config, **changes})
    randomise(model.backbone.image_tower.transformer)
    return model.eval()


def textured_images(count: int, height: int = 64, width: int = 64) -> torch.Tensor:
    """Normalised images of a few flat areas with noise, so that patches correlate in groups."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.randn(count, 3, 4, 4, generator=generator)
    noise = torch.randn(count, 3, height, width, generator=generator)
    return 3 * torch.nn.functional.interpolate(coarse, size=(height, width)) + 0.3 * noise


def evidence(metainfo: dict[str, Any], classes: int) -> Evidence:
    """What a refinement that looks at labels alone is given."""

    def unasked() -> torch.Tensor:
        raise AssertionError("neither probabilities nor the image are needed")

    return Evidence(metainfo, classes, unasked, unasked)
