"""A training goes on with positional embeddings trained or frozen as it began, whatever the default is by now."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from hclip_mmseg.apis.resumed_positions import POSITIONS
from hclip_mmseg.apis.train import prepare_training

# of each parameter its own, as in the configs: MMEngine then takes no other number of groups
GROUPS = {"optim_wrapper.paramwise_cfg": dict(custom_keys={"backbone.adapter": dict(lr_mult=0.5)})}


def train(config, work_dir, iterations, resume=None, **changes):
    cfg = Config.fromfile(config)
    cfg.merge_from_dict({"work_dir": str(work_dir), "train_cfg.max_iters": iterations, "launcher": "none"})
    cfg.merge_from_dict(changes)
    cfg.experiment_name = f"{work_dir.parent.name} {work_dir.name} {iterations}"
    prepare_training(cfg, resume).train()
    return torch.load(work_dir / f"iter_{iterations}.pth", map_location="cpu", weights_only=False)["state_dict"]


@pytest.mark.parametrize("before, groups", [(True, GROUPS), (False, GROUPS), (True, {})])
def test_it_goes_on_as_it_began(tiny_config, tmp_path, capsys, before, groups):
    began = {"model.backbone.train_positions": before, **groups}
    now = {"model.backbone.train_positions": not before, **groups}
    whole = train(tiny_config, tmp_path / "whole", 3, **began)
    start = train(tiny_config, tmp_path / "parts", 2, **began)
    capsys.readouterr()
    parts = train(tiny_config, tmp_path / "parts", 3, resume="latest", **now)
    assert f"{'trains' if before else 'freezes'} positional embeddings, so it does still" in capsys.readouterr().out
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert all(torch.equal(start[name], parts[name]) != before for name in POSITIONS)


def test_weights_of_either_start_a_training_of_the_other(tiny_config, tmp_path):
    trained = {"model.backbone.train_positions": True}
    start = train(tiny_config, tmp_path / "first", 2, **trained)
    new = train(tiny_config, tmp_path / "second", 2, load_from=str(tmp_path / "first/iter_2.pth"))
    assert all(torch.equal(start[name], new[name]) for name in POSITIONS), "taken over, and frozen by default"
