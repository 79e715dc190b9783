"""The proposals' generators are MMDetection's, name for name."""

from __future__ import annotations

from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny_mask_models import CONFIGS, tiny_fisa

from hclip_mmseg.compat import meta_device

PUBLISHED = Path(mmdet.__path__[0]) / ".mim/configs/mask2former"


@pytest.mark.parametrize("kind", ["r50", "swin-t", "swin-b"])
def test_names_and_shapes_are_those_of_mmdets_published_checkpoints(kind):
    init_default_scope("mmdet")
    ours = Config.fromfile(CONFIGS / f"fisa/fisa_vitl14-336_{kind}_coco-panoptic.py").model.generator
    published = PUBLISHED / Path(ours.init_cfg.checkpoint).with_suffix(".py").name
    assert published.is_file(), "the config names a checkpoint that MMDetection has a config of"
    with meta_device():
        states = [MODELS.build(config).state_dict() for config in (ours, Config.fromfile(published).model)]
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in states]
    assert shapes[0] == shapes[1] and len(shapes[0]) > 400


def test_a_checkpoint_is_loaded_and_one_of_another_generator_is_named(tmp_path):
    published, model = tiny_fisa(seed=1), tiny_fisa(seed=0)
    path = tmp_path / "mask2former.pth"
    state = published.generator.state_dict()
    torch.save(dict(meta=dict(epoch=50), state_dict=state), path)
    model.generator.init_cfg = dict(type="Pretrained", checkpoint=str(path))
    model.init_weights()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.generator.state_dict().items())

    cut = {name: tensor for name, tensor in state.items() if "query_embed" not in name}
    torch.save(dict(state_dict=cut), path)
    with pytest.raises(ValueError, match=r"mask2former.pth does not fit the model: it lacks 1 tensors"):
        model.init_weights()
