"""Parameter groups and schedules, one by one, against the rules of the published training scripts."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from golden_numbers import read_json
from miniature import REPOSITORY
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmseg.registry import MODELS
from torch import nn

import hclip_mmseg.mask_classification  # noqa: F401  registers its models
from hclip_mmseg.conversion.cat_seg import CAT_SEG
from hclip_mmseg.conversion.h_clip import H_CLIP
from hclip_mmseg.conversion.kind import renamed
from hclip_mmseg.conversion.maft_plus import MAFT_PLUS

TABLE = read_json("training")
METHODS = [name for name in TABLE if name != "note"]
RULES = {"cat-seg": CAT_SEG.rules, "h-clip": H_CLIP.rules}
FROZEN = None


def read(method: str) -> tuple[dict[str, Any], Config]:
    table = TABLE[method]
    if isinstance(table["groups"], str):
        table = {**table, "groups": TABLE[table["groups"]]["groups"]}
    return table, Config.fromfile(REPOSITORY / f"configs/{table['config']}.py")


def build(config: Config) -> nn.Module:
    """A config's model at its full size, without weights and without memory for them."""
    init_default_scope(config.default_scope)
    config.model.backbone.clip.pretrained = None
    with torch.device("meta"):
        return MODELS.build(config.model)


def groups(model: nn.Module, config: Config) -> dict[str, list[float] | None]:
    """Name of each parameter -> its rate and decay; None where it is frozen."""
    wrapper = {**config.optim_wrapper.to_dict(), "type": "OptimWrapper"}
    optimizer = build_optim_wrapper(model, wrapper).optimizer
    found = {
        parameter: [group["lr"], group["weight_decay"]]
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.requires_grad
    }
    return {name: found.get(parameter, FROZEN) for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("method", METHODS)
def test_each_parameter_is_trained_as_published(method):
    table, config = read(method)
    model = build(config)
    found = groups(model, config)
    rules = RULES.get(method.split()[0]) or MAFT_PLUS.rules_with({})
    published, unknown = renamed({name: name for name in found}, rules)
    assert not unknown
    used = set()
    for theirs, ours in published.items():
        place, expected = next((n, value) for n, (part, value) in enumerate(table["groups"]) if re.search(part, theirs))
        used.add(place)
        assert found[ours] == (expected and pytest.approx(expected, rel=1e-9)), f"{ours}, published as {theirs}"
    assert len(used) == len(table["groups"]), "a rule that nothing follows"
    trained = {name: p.numel() for name, p in model.named_parameters() if found[name] is not FROZEN}
    in_clip = sum(n for name, n in trained.items() if re.match(r"backbone\.(adapter|\w+_tower)\.", name))
    assert in_clip == table.get("trained_in_clip", in_clip)


def rates(config: Config, places: list[int]) -> dict[int, float]:
    """The rate of a parameter of multiplier 1 at iterations counted from 0."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=config.optim_wrapper.optimizer.lr)
    optimizer.step()
    schedulers = [PARAM_SCHEDULERS.build({**each, "optimizer": optimizer}) for each in config.param_scheduler]
    found = {}
    for iteration in range(max(places) + 1):
        if iteration in places:
            found[iteration] = optimizer.param_groups[0]["lr"]
        for scheduler in schedulers:
            scheduler.step()
    return found


@pytest.mark.parametrize("method", METHODS)
def test_rates_follow_the_published_schedule(method):
    table, config = read(method)
    assert config.train_cfg.max_iters == table["iterations"]
    expected = {int(place): rate for place, rate in table["rates"].items()}
    assert rates(config, list(expected)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_steps_are_the_published_ones(method):
    table, config = read(method)
    wrapper = config.optim_wrapper
    assert (wrapper.optimizer.type, wrapper.optimizer.betas) == ("mmseg.FusedAdamW", (0.9, 0.999))
    assert wrapper.clip_grad == dict(max_norm=table["clip"], norm_type=2)
    assert (wrapper.type == "mmseg.BF16OptimWrapper") == table["mixed_precision"]
    images = config.get("auto_scale_lr", dict(base_batch_size=config.train_dataloader.batch_size))["base_batch_size"]
    assert images == table["images"] and images % config.train_dataloader.batch_size == 0
