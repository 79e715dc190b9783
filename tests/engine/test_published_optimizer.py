"""Parameter groups and schedules, one by one, against the rules of the published training scripts."""

from __future__ import annotations

import math

import pytest
import torch
from miniature import REPOSITORY
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmseg.registry import MODELS
from torch import nn

import hclip_mmseg.mask_classification  # noqa: F401  registers its models

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def built(path: str) -> tuple[nn.Module, Config]:
    """A config's model at its full size, without weights and without memory for them."""
    config = Config.fromfile(REPOSITORY / path)
    init_default_scope(config.default_scope)
    config.model.backbone.clip.pretrained = None
    return MODELS.build(config.model), config


def groups(model: nn.Module, config: Config) -> dict[str, tuple[float, float]]:
    """Name of each trained parameter -> its rate and decay."""
    wrapper = {**config.optim_wrapper.to_dict(), "type": "OptimWrapper"}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimizer = build_optim_wrapper(model, wrapper).optimizer
    found = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.requires_grad
    }
    assert len(found) == sum(parameter.requires_grad for parameter in model.parameters())
    return found


def owners(model: nn.Module) -> dict[str, nn.Module]:
    return {
        f"{prefix}.{name}".lstrip("."): module
        for prefix, module in model.named_modules()
        for name, _ in module.named_parameters(recurse=False)
    }


@pytest.mark.parametrize("method", ["cat_seg/cat-seg", "hclip/hclip"])
def test_segmentors_groups(method):
    model, config = built(f"configs/{method}_vitb16_coco-stuff.py")
    of = owners(model)
    found = groups(model, config)
    assert not any("positional" in name for name in found)
    in_clip = {name for name in found if name.startswith("backbone.") and "guidance_upsamples" not in name}
    trained = sum(model.get_parameter(name).numel() for name in in_clip)
    assert trained == {"cat_seg/cat-seg": 20_447_232, "hclip/hclip": 7_867_824}[method]
    for name, (rate, decay) in found.items():
        assert rate == pytest.approx(2e-6 if name in in_clip else 2e-4), name
        assert decay == (0.0 if isinstance(of[name], NORMS) else 1e-4), name
    assert sum(decay == 0 for _, decay in found.values()) > 10


def test_maft_plus_groups():
    model, config = built("configs/maft_plus/maft-plus-published_convnext-b_coco-stuff.py")
    of = owners(model)
    found = groups(model, config)
    assert any(name.startswith("backbone.image_tower.trunk.stages") for name in found)
    for name, (rate, decay) in found.items():
        assert rate == pytest.approx(1e-5 if name.startswith("backbone.") else 1e-4), name
        free = isinstance(of[name], (*NORMS, nn.Embedding)) and "level_encoding" not in name
        assert decay == (0.0 if free or name == "void" else 2e-5), name
    stem = [name for name in found if name.startswith("backbone.image_tower.trunk.stem")]
    assert {found[name][1] for name in stem} == {0.0, 2e-5}, "a convolution and a norm"


def rates(config: Config, places: list[int]) -> dict[int, float]:
    """The rate of a parameter of multiplier 1 at iterations counted from 0."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=config.optim_wrapper.optimizer.lr)
    schedulers = [PARAM_SCHEDULERS.build({**one, "optimizer": optimizer}) for one in config.param_scheduler]
    found = {}
    for iteration in range(max(places) + 1):
        if iteration in places:
            found[iteration] = optimizer.param_groups[0]["lr"]
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return found


@pytest.mark.parametrize("size, iterations", [("l", 55_000), ("b", 60_000)])
def test_maft_plus_rate_is_a_polynomial(size, iterations):
    config = Config.fromfile(REPOSITORY / f"configs/maft_plus/maft-plus-published_convnext-{size}_coco-stuff.py")
    assert config.train_cfg.max_iters == iterations
    for place, rate in rates(config, [0, 1, 1000, 30_000]).items():
        assert rate == pytest.approx(1e-4 * (1 - place / iterations) ** 0.9, rel=1e-6)


def test_segmentors_rate_is_half_a_cosine():
    config = Config.fromfile(REPOSITORY / "configs/cat_seg/cat-seg_vitb16_coco-stuff.py")
    for place, rate in rates(config, [0, 1, 40_000, 60_000]).items():
        assert rate == pytest.approx(2e-4 * 0.5 * (1 + math.cos(math.pi * place / 80_000)), rel=1e-6)
