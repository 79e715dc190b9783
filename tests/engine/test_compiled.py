"""MMEngine's switch `compile`: a training step given to torch.compile is the same training, up to rounding."""

from __future__ import annotations

from pathlib import Path

import torch

from hclip_mmseg.apis.launch import load_config
from hclip_mmseg.apis.train import train

SMALL = (
    "model.backbone.clip.model.vision_cfg.layers=3", "model.backbone.clip.model.text_cfg.layers=1",
    "optim_wrapper.optimizer.weight_decay=0.01", "optim_wrapper.paramwise_cfg.bias_decay_mult=0.0",
)  # fmt: skip


def trained(config: Path, folder: Path, *settings: str) -> dict:
    """The checkpoint of two iterations, whose biases are groups of their own."""
    named = f"experiment_name={folder.parent.name}{folder.name}"
    train(load_config(config, [*SMALL, "train_cfg.max_iters=2", named, *settings], str(folder)))
    return torch.load(folder / "iter_2.pth", map_location="cpu", weights_only=False)


def test_a_compiled_training_is_the_same(tiny_config, tmp_path):
    plain = trained(tiny_config, tmp_path / "plain")
    compiled = trained(tiny_config, tmp_path / "compiled", "compile.backend=eager")
    torch.compiler.reset()
    assert len(plain["optimizer"]["param_groups"]) > 1
    for part in ("state_dict", "optimizer"):  # sums of gradients are added up in another order
        torch.testing.assert_close(compiled[part], plain[part], rtol=1e-5, atol=1e-7)
