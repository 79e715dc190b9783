"""LoRA and OFT against the ``peft`` package's layers, where that is installed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hclip_mmseg.adapters import build_adapter

peft = pytest.importorskip("peft", reason="the package peft is not installed (pip install peft 'transformers<5')")

SIZES = dict(image_layers=1, text_layers=1, image_width=48, text_width=32)


def injected(config) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A layer of peft over a frozen linear layer, and that layer's weight and bias."""
    torch.manual_seed(0)
    linear = nn.Linear(48, 48)
    weight, bias = linear.weight.detach().clone(), linear.bias.detach().clone()
    model = peft.inject_adapter_in_model(config, nn.ModuleDict({"projection": linear}))
    return model["projection"], weight, bias


@pytest.mark.parametrize("projection", [0, 3])
def test_oft(projection):
    config = peft.OFTConfig(oft_block_size=16, target_modules=["projection"], use_cayley_neumann=False)
    layer, weight, bias = injected(config)
    free = layer.oft_R["default"].weight  # [3, 120]: the upper triangles of skew matrices
    adapter = build_adapter(dict(type="OFT", block_size=16), **SIZES)
    name = ("q", "k", "v", "out")[projection]
    with torch.no_grad():
        free.copy_(0.3 * torch.randn_like(free))
        rows, columns = torch.triu_indices(16, 16, 1)
        for block in range(3):
            # peft turns the activations, x R; here the weight is turned, W D with D = R^T, hence the sign
            skew = torch.zeros(16, 16)
            skew[rows, columns] = -free[block]
            adapter.tensor[:, :, projection, 2 + block] = skew - skew.T
        x = torch.randn(5, 48)
        found = adapter.linear("image", 0, name, x, weight, bias)
        torch.testing.assert_close(found, layer(x), rtol=1e-4, atol=1e-5)
        assert (found - nn.functional.linear(x, weight, bias)).abs().max() > 0.1
        layer.merge()
        merged = layer.base_layer.weight
        torch.testing.assert_close(adapter.adapted_weight("image", 0, name, weight), merged, rtol=1e-4, atol=1e-5)


def test_lora():
    layer, weight, bias = injected(peft.LoraConfig(r=4, lora_alpha=8, target_modules=["projection"]))
    adapter = build_adapter(dict(type="LoRA", rank=4, alpha=8), **SIZES)
    own = adapter.layers["image"][0]["v"]
    assert layer.lora_B["default"].weight.abs().sum() == own.lora_up.weight.abs().sum() == 0
    with torch.no_grad():
        for theirs, ours in ((layer.lora_A, own.lora_down), (layer.lora_B, own.lora_up)):
            ours.weight.normal_()
            theirs["default"].weight.copy_(ours.weight)
        x = torch.randn(5, 48)
        torch.testing.assert_close(adapter.linear("image", 0, "v", x, weight, bias), layer(x))
        layer.merge()
        torch.testing.assert_close(adapter.adapted_weight("image", 0, "v", weight), layer.base_layer.weight)
