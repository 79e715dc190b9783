"""Settings of the command line: what is refused, and what was probably meant."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from hclip_mmseg.apis.checks import check_run
from hclip_mmseg.apis.launch import pin_batches, read_config
from hclip_mmseg.apis.settings import explained, merge_settings


@pytest.fixture
def config():
    return Config(
        dict(
            model=dict(type="A", test_cfg=dict(window=384, mode="slide")),
            optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
            param_scheduler=[dict(begin=0)],
            randomness=dict(seed=0),
        )
    )


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("mdel.type", "B", "no 'mdel'; did you mean 'model'"),
        ("max_iter", 3, "a config has no 'max_iter'"),
        ("randomness.seed", "abc", "randomness.seed=abc: the config has a number there .0., 'abc' is none"),
        ("optim_wrapper.optimizer.lr", "fast", "optim_wrapper.optimizer.lr=fast"),
        ("model.test_cfg.window", "big", "model.test_cfg.window=big"),
        ("param_scheduler.0.begin", "late", "param_scheduler.0.begin=late"),
    ],
)
def test_a_setting_that_cannot_be_meant(config, key, value, said):
    before = config.to_dict()
    with pytest.raises(ValueError, match=said):
        merge_settings(config, {key: value})
    assert config.to_dict() == before


def test_settings_that_a_config_need_not_have(config):
    merge_settings(config, {"resume": True, "env_cfg.cudnn_benchmark": True, "model.test_cfg.mode": "whole"})
    assert config.resume and config.env_cfg.cudnn_benchmark and config.model.test_cfg.mode == "whole"
    merge_settings(config, {"model.test_cfg.window": None})
    assert config.model.test_cfg.window is None


def test_what_a_registry_says_becomes_one_line_with_the_nearest_name():
    with pytest.raises(KeyError) as unknown:
        MODELS.build(dict(type="HCLIPBackbon"))
    assert explained(str(unknown.value.args[0])) == "no model is called 'HCLIPBackbon'; did you mean 'HCLIPBackbone'?"
    with pytest.raises(TypeError) as argument:
        MODELS.build(dict(type="HCLIPBackbone", residul="value"))
    assert explained(str(argument.value)) == "HCLIPBackbone has no setting 'residul'; did you mean 'residual'?"
    with pytest.raises(TypeError) as argument:
        MODELS.build(dict(type="PAMR", gamma=1))
    assert explained(str(argument.value)).startswith("PAMR has no setting 'gamma'; it has steps, ")
    with pytest.raises(TypeError) as argument:
        MODELS.build(dict(type="ProxyAttention"))
    assert explained(str(argument.value)) == "ProxyAttention lacks a setting that it needs: 'features'"
    assert explained("anything else") == "anything else"


def test_a_mistyped_config_is_named():
    with pytest.raises(FileNotFoundError, match="did you mean 'configs/hclip/hclip_tiny_scenes.py'"):
        read_config("configs/hclip/hclip_tiny_scene.py")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(optim_wrapper=dict(optimizer=dict(lr="1e-3"))), "lr must be a number, at least 0, not '1e-3'"),
        (dict(randomness=dict(seed="0")), "seed must be a whole number"),
    ],
)
def test_numbers_in_a_config_s_file(config, change, said):
    config.merge_from_dict(change)
    with pytest.raises(ValueError, match=said):
        check_run(config, ["train"])


def test_batches_for_a_gpu_are_loaded_into_page_locked_memory(monkeypatch):
    cfg = Config(dict(train_dataloader=dict(batch_size=4), test_dataloader=dict(pin_memory=False)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    pin_batches(cfg)
    assert "pin_memory" not in cfg.train_dataloader
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    pin_batches(cfg)
    assert cfg.train_dataloader.pin_memory is True and cfg.test_dataloader.pin_memory is False
