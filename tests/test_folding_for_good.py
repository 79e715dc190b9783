"""Trained adapters folded into a plain CLIP."""

from __future__ import annotations

import open_clip
import pytest
import torch
from tiny_models import backbone_config, clip_geometry, tiny_segmentor

from hclip_mmseg.clip import tokenize
from hclip_mmseg.conversion import clip_state_dict, folded_state_dict

NAMES = ("cat", "dog", "green grass")


def plain_segmentor():
    return tiny_segmentor(names=NAMES, backbone=backbone_config(adapter=None))


@pytest.fixture(scope="module")
def trained():
    return tiny_segmentor(names=NAMES)


def test_the_config_without_adapters_loads_it_and_computes_the_same(trained):
    plain = plain_segmentor()
    plain.load_state_dict(folded_state_dict(trained))
    image = torch.randn(1, 3, 80, 100)
    expected, found = trained.predict(image)[0], plain.predict(image)[0]
    torch.testing.assert_close(found.seg_logits.data, expected.seg_logits.data, rtol=1e-4, atol=1e-5)
    start = plain_segmentor()
    start.load_state_dict({**folded_state_dict(trained), **unfolded_weights(trained)})
    assert not torch.allclose(start.predict(image)[0].seg_logits.data, expected.seg_logits.data, atol=1e-4)


def unfolded_weights(model):
    return {n: v for n, v in model.state_dict().items() if n.endswith(("in_proj_weight", "out_proj.weight"))}


def test_open_clip_loads_the_folded_clip(trained):
    clip = open_clip.model.CLIP(**clip_geometry()).eval()
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
    with pytest.raises(ValueError, match="no adapters to fold"):
        folded_state_dict(plain_segmentor())
