"""Trained adapters folded into a plain CLIP."""

from __future__ import annotations

import copy

import open_clip
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from hclip_mmseg.clip import tokenize
from hclip_mmseg.conversion import clip_state_dict, folded_state_dict

CLIP = dict(
    embed_dim=32,
    vision_cfg=dict(image_size=64, layers=4, width=48, patch_size=8, head_width=16),
    text_cfg=dict(context_length=77, vocab_size=49408, width=32, heads=2, layers=4),
)
MODEL = dict(
    type="OpenVocabSegmentor",
    backbone=dict(
        type="HCLIPBackbone",
        clip=dict(model=CLIP),
        adapter=dict(type="POP", block_size=16),
        guidance_layers=(0, 1),
        guidance_channels=(16, 8),
    ),
    text_encoder=dict(type="TextEncoderNeck", vocabulary=["cat", "dog", "green grass"]),
    decode_head=dict(
        type="CostAggregationHead",
        text_channels=32,
        dim=16,
        layers=1,
        heads=2,
        window=4,
        appearance_dim=16,
        text_guidance_dim=16,
        class_length=16,
        decoder_channels=(32, 16),
        guidance_channels=(16, 8),
        guidance_projections=(8, 8),
    ),
    test_cfg=dict(mode="slide_whole", canvas=96, window=64, clip_resolution=64),
)


@pytest.fixture(scope="module")
def trained():
    init_default_scope("mmseg")
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(MODEL)).eval()
    with torch.no_grad():
        for parameter in model.backbone.adapter.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_the_config_without_adapters_loads_it_and_computes_the_same(trained):
    plain_config = copy.deepcopy(MODEL)
    plain_config["backbone"]["adapter"] = None
    plain = MODELS.build(plain_config).eval()
    plain.load_state_dict(folded_state_dict(trained))
    image = torch.randn(1, 3, 80, 100)
    expected, found = trained.predict(image)[0], plain.predict(image)[0]
    torch.testing.assert_close(found.seg_logits.data, expected.seg_logits.data, rtol=1e-4, atol=1e-5)
    start = MODELS.build(plain_config).eval()
    start.load_state_dict({**folded_state_dict(trained), **unfolded_weights(trained)})
    assert not torch.allclose(start.predict(image)[0].seg_logits.data, expected.seg_logits.data, atol=1e-4)


def unfolded_weights(model):
    return {n: v for n, v in model.state_dict().items() if n.endswith(("in_proj_weight", "out_proj.weight"))}


def test_open_clip_loads_the_folded_clip(trained):
    clip = open_clip.model.CLIP(**copy.deepcopy(CLIP)).eval()
    clip.load_state_dict(clip_state_dict(folded_state_dict(trained)))
    images, tokens = torch.randn(2, 3, 64, 64), tokenize(["cat", "a long red train"], ("a photo of a {}",))[:, 0]
    with torch.no_grad():
        torch.testing.assert_close(
            clip.encode_image(images), trained.backbone.encode_image(images), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            clip.encode_text(tokens), trained.backbone.encode_text(tokens), rtol=1e-4, atol=1e-5
        )


def test_a_model_without_adapters_is_refused():
    config = copy.deepcopy(MODEL)
    config["backbone"]["adapter"] = None
    init_default_scope("mmseg")
    with pytest.raises(ValueError, match="no adapters to fold"):
        folded_state_dict(MODELS.build(config))
