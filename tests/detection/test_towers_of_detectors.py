"""Detectors on EVA-02 and SigLIP: a training step, folding; and image towers that they are not set up for."""

from __future__ import annotations

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from other_towers import geometry, tiny_tokenizer
from tiny_detectors import BASE, detector_config, random_images, samples
from tiny_models import randomise
from tiny_sed import GEOMETRY as CONVNEXT

BOXES, LABELS = [[4, 4, 40, 36], [20, 10, 60, 60]], [0, 2]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def built(kind: str, tokenizer: str, text_channels: int = 32, adapter: str = "LoRA", **head):
    clip = geometry(kind, tokenizer)
    config = detector_config(clip=dict(model=clip), adapter=dict(type=adapter, rank=2))
    config["text_encoder"]["templates"] = "a {}."
    config["roi_head"]["bbox_head"]["text_channels"] = text_channels
    config["roi_head"]["region_extractor"].update(out_channels=text_channels, **head)
    init_default_scope("mmdet")
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(config))


@pytest.mark.parametrize(("kind", "width"), [("eva02", 32), ("siglip", 48)])
def test_a_step_trains_adapters_and_heads_and_folding_changes_nothing(kind, width, tokenizer):
    model = built(kind, tokenizer, width)
    model.set_vocabulary(BASE)
    randomise(model.backbone.adapter)
    images = random_images(batch=1)
    losses = model.train().loss(images, samples(images, BOXES, LABELS))
    values = [value for loss in losses.values() for value in (loss if isinstance(loss, list) else [loss])]
    sum(value for value in values if value.requires_grad).backward()
    dead = {f"backbone.{numbers.parameter}" for numbers in model.backbone.dead_parameters() if numbers.where == ()}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, name
        elif name not in dead:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert sum(bool(each.grad.any()) for each in model.backbone.adapter.parameters() if each.grad is not None) > 8
    unfolded = model.eval().predict(images, samples(images))[0].pred_instances
    with torch.no_grad():
        folded = model.predict(images, samples(images))[0].pred_instances
    assert len(folded) == len(unfolded) > 0
    torch.testing.assert_close(folded.scores, unfolded.scores.detach(), rtol=1e-3, atol=1e-4)


def test_heads_that_are_set_up_for_another_tower_say_what_to_set(tokenizer):
    with pytest.raises(ValueError, match="roi_head.bbox_head.text_channels is 32 and must be 48$"):
        built("siglip", tokenizer)
    with pytest.raises(ValueError, match=r"patches are of 8 pixels: .*featmap_strides is \[16\] and must be \[8\]$"):
        built("eva02", tokenizer, featmap_strides=[16])
    config = detector_config()
    config["neck"][0]["channels"] = 64
    with pytest.raises(ValueError, match="neck.0.channels, as each of neck.1.in_channels, is 64 and must be 48$"):
        MODELS.build(ConfigDict(config))
    config["backbone"] = dict(type="mmseg.ConvNeXtBackbone", clip=dict(model=CONVNEXT))
    with pytest.raises(ValueError, match="4 blocks of a vision transformer, and ConvNeXtBackbone gives 0: take HCLIP"):
        MODELS.build(ConfigDict(config))
