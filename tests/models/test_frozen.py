"""The plain CLIP inside a segmentor."""

from __future__ import annotations

import torch
from mmseg.registry import MODELS
from tiny_models import HEAD, backbone_config, tiny_segmentor

from hclip_mmseg.models import CosineHead
from hclip_mmseg.models.frozen import frozen_clip_config


def test_scores_are_cosines_that_the_sigmoid_keeps_apart():
    text = torch.eye(3)[:, None]
    dense = torch.tensor([0.9, 0.95, 0.1])[None, :, None, None]
    scores = CosineHead(text_channels=3)((dense, text))
    torch.testing.assert_close(scores[0, :, 0, 0], dense[0, :, 0, 0] / dense.norm())
    assert scores.sigmoid().argmax(dim=1).item() == 1
    assert len(scores.sigmoid().unique()) == 3


def test_the_config_without_adapters_and_head():
    model = tiny_segmentor(names=("cat", "dog"))
    config = dict(
        type="OpenVocabSegmentor",
        backbone=backbone_config(),
        text_encoder=dict(type="TextEncoderNeck", vocabulary=("cat", "dog")),
        decode_head=HEAD,
        test_cfg=dict(mode="whole", window=64, clip_resolution=64),
    )
    frozen = MODELS.build(frozen_clip_config(config)).eval()
    assert config["backbone"]["adapter"] is not None, "the given config was changed"
    assert isinstance(frozen.decode_head, CosineHead)
    assert frozen.backbone.adapter is None and frozen.backbone.residual == "value"
    frozen.backbone.image_tower.load_state_dict(model.backbone.image_tower.state_dict())
    frozen.backbone.text_tower.load_state_dict(model.backbone.text_tower.state_dict())
    image = torch.randn(1, 3, 64, 64)
    dense = frozen.backbone(image)[-1]
    text = frozen.text_encoder(frozen.backbone.encode_text, frozen.backbone.text_parameters())
    cosine = torch.nn.functional.cosine_similarity(dense[0, None], text[:, 0, :, None, None], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(frozen.decode_head((dense, text))[0], cosine, rtol=1e-4, atol=1e-5)
