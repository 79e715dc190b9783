"""The penalty that holds embeddings of names that are not trained, and how much of an adapter is used."""

from __future__ import annotations

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_models import pop_config, randomise, tiny_backbone, tiny_segmentor

from hclip_mmseg.clip import tokenize
from hclip_mmseg.models.losses.held_names import HeldNamesLoss

NAMES = "cat, dog, red house, tree, sky"


def held(backbone, **changes):
    return HeldNamesLoss(backbone, ("a photo of a {}.",), **{"names": [NAMES], "count": 5, "weight": 2.0, **changes})


def test_it_is_weight_times_one_minus_cosine():
    backbone = tiny_backbone()
    randomise(backbone.adapter)
    loss = held(backbone)
    tokens = tokenize([name.strip() for name in NAMES.split(",")], ("a photo of a {}.",))[:, 0]
    adapted, plain = backbone.encode_text(tokens), backbone.text_tower(tokens)
    expected = 2 * (1 - torch.nn.functional.cosine_similarity(adapted, plain)).mean()
    torch.testing.assert_close(loss(backbone, ("cathedral",)), expected)
    assert expected > 0


def test_without_an_adapters_change_it_is_zero():
    backbone = tiny_backbone()
    assert held(backbone)(backbone, ()).item() == pytest.approx(0, abs=1e-5)


def test_its_gradient_is_the_difference_quotient():
    backbone = tiny_backbone().double()
    randomise(backbone.adapter)
    loss, step = held(backbone), 1e-3
    backbone.adapter.forget()
    loss(backbone, ()).backward()
    tensor = backbone.adapter.tensor
    direction = torch.randn_like(tensor)
    slope = (tensor.grad * direction).sum().item()
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            tensor.add_(sign * step * direction)
        values.append(loss(backbone, ()).item())
        with torch.no_grad():
            tensor.sub_(sign * step * direction)
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=0.02) and slope != 0
    assert all(parameter.grad is None for parameter in backbone.text_tower.parameters())


def test_names_that_are_trained_are_not_held():
    backbone = tiny_backbone()
    loss = held(backbone, count=2)
    for _ in range(5):
        drawn = [loss.names[place] for place in loss.draw(("Cat, pussy", "red house"))]
        assert len(set(drawn)) == 2 and not {"cat", "red house"} & set(drawn)
    assert not loss(backbone, tuple(NAMES.split(", "))).requires_grad


def test_a_model_adds_it_to_its_losses():
    hold = dict(names=[NAMES], count=3, weight=0.5)
    model = tiny_segmentor(names=("cat", "mouse"), train_cfg=dict(hold=hold)).train()
    labels = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 64, 64, dtype=torch.long)))
    losses = model.loss(torch.randn(1, 3, 64, 64), [labels])
    assert losses["hold.loss_hold"] > 0 and "decode.loss_bce" in losses
    assert not any("held" in name for name in model.state_dict())


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="count of at least 1"):
        held(tiny_backbone(), count=0)
    with pytest.raises(ValueError, match="train_positions=False"):
        held(tiny_backbone(train_positions=True))


# ---- a part of the adapter


def test_orthogonal_blocks_stay_orthogonal_between():
    backbone = tiny_backbone(adapter={**pop_config(), "strength": 0.3})
    randomise(backbone.adapter)
    turns = backbone.adapter.turns("text")
    torch.testing.assert_close(turns.mT @ turns, torch.eye(16).expand_as(turns), atol=1e-5, rtol=0)
