"""Published checkpoints where this project's own are taken."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from hclip_mmseg.apis.inferencer import build_model
from hclip_mmseg.apis.weights import PublishedCheckpointHook, read_weights
from hclip_mmseg.conversion import to_published


@pytest.fixture(scope="module")
def published(tiny_config, tmp_path_factory):
    """(model, file of its weights under the published names)."""
    init_default_scope("mmseg")
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(tiny_config).model)
    path = tmp_path_factory.mktemp("published") / "hclip.pth"
    torch.save(to_published(dict(state_dict=model.state_dict())), path)
    return model, path


def test_it_is_converted_in_memory_and_said(published, tiny_config, capsys):
    model, path = published
    content = path.read_bytes()
    built = build_model(tiny_config, path)
    assert f"{path} is a published checkpoint of h-clip; it is converted in memory" in capsys.readouterr().out
    for name, value in model.state_dict().items():
        assert torch.equal(built.state_dict()[name], value), name
    assert path.read_bytes() == content


def test_a_run_that_loads_it_gets_the_converted_one(published):
    model, path = published
    loaded = torch.load(path)
    PublishedCheckpointHook().after_load_checkpoint(None, loaded)
    assert loaded["state_dict"].keys() == model.state_dict().keys()
    own = dict(state_dict=model.state_dict(), meta=dict(iter=3))
    PublishedCheckpointHook().after_load_checkpoint(None, own)
    assert own["meta"] == dict(iter=3)


def test_where_the_config_does_not_fit_kind_and_command_are_named(published):
    _, path = published
    with pytest.raises(ValueError, match="of h-clip.*configs/hclip/.*convert_checkpoint.py") as said:
        read_weights(path).check(torch.nn.Linear(2, 2))
    assert "\n" not in str(said.value)
