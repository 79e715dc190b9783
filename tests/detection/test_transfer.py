"""A backbone that was trained in one system starts the other."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("mmdet", reason="MMDetection is not installed")

from tiny_detectors import tiny_detector
from tiny_models import randomise, tiny_segmentor

from hclip_mmseg.clip import tokenize
from hclip_mmseg.models import HCLIPBackbone
from hclip_mmseg.models.backbones import PretrainedBackbone


def changed(model):
    """The model as after a training."""
    randomise(model.backbone.adapter, 0.3)
    with torch.no_grad():
        for tower in (model.backbone.image_tower, model.backbone.text_tower):
            tower.positional_embedding.add_(0.1 * torch.randn_like(tower.positional_embedding))
    return model


@pytest.mark.parametrize("way", ["segmentor to detector", "detector to segmentor"])
def test_towers_and_adapters_move_in_either_direction(way, tmp_path):
    source, target = changed(tiny_segmentor(seed=1, names=("cat",))), tiny_detector(seed=2)
    if way == "detector to segmentor":
        source, target = changed(tiny_detector(seed=1)), tiny_segmentor(seed=2, names=("cat",))
    path = tmp_path / "iter_1.pth"
    torch.save(dict(state_dict=source.state_dict(), message_hub={}), path)
    target.backbone.init_cfg = dict(type="PretrainedBackbone", checkpoint=str(path))
    others = {name: tensor.clone() for name, tensor in target.state_dict().items() if not name.startswith("backbone.")}
    target.backbone.init_weights()
    images = torch.randn(1, 3, 64, 96)
    neck = source.text_encoder
    tokens = tokenize(("cat",), neck.templates, neck.tokenizer)[:, 0]
    with torch.no_grad():
        torch.testing.assert_close(target.backbone.encode_text(tokens), source.backbone.encode_text(tokens))
        source.backbone.residual = target.backbone.residual
        torch.testing.assert_close(target.backbone(images)[-1], source.backbone(images)[-1])
    assert all(torch.equal(target.state_dict()[name], tensor) for name, tensor in others.items())


def test_a_runners_init_weights_loads_it(tmp_path):
    path = tmp_path / "iter_1.pth"
    source = changed(tiny_segmentor(seed=1))
    torch.save(dict(state_dict=source.state_dict()), path)
    target = tiny_detector(seed=2, init_cfg=dict(type="PretrainedBackbone", checkpoint=str(path)))
    assert not torch.equal(target.backbone.adapter.tensor, source.backbone.adapter.tensor)
    target.init_weights()
    assert torch.equal(target.backbone.adapter.tensor, source.backbone.adapter.tensor)


def test_another_adapter_is_refused_and_nothing_loaded(tmp_path):
    path = tmp_path / "iter_1.pth"
    torch.save(dict(state_dict=tiny_detector(seed=1, adapter=None).state_dict()), path)
    target: HCLIPBackbone = tiny_detector(seed=2).backbone
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(ValueError, match=r"it lacks 3 tensors \(adapter\..*configured alike"):
        PretrainedBackbone(str(path))(target)
    assert all(torch.equal(before[name], tensor) for name, tensor in target.state_dict().items())
    with pytest.raises(FileNotFoundError):
        PretrainedBackbone(str(tmp_path / "absent.pth"))(target)
