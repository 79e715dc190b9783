"""The MLP that computes QuickGELU in one pass against open_clip's own."""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import torch
from open_clip.transformer import QuickGELU
from torch import nn

from hclip_mmseg.clip import build_clip
from hclip_mmseg.clip.quick_gelu import QuickGELUMLP, use_quick_gelu_mlps


def mlp(activation: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    layers = OrderedDict(c_fc=nn.Linear(6, 24), gelu=activation, c_proj=nn.Linear(24, 6))
    return nn.Sequential(layers)


@pytest.mark.parametrize("shape", [(6,), (5, 6), (2, 3, 6), (0, 6)])
def test_outputs_and_gradients_are_those_of_the_layers_one_by_one(shape):
    plain = mlp(QuickGELU()).double()
    ours = QuickGELUMLP(OrderedDict(copy.deepcopy(plain).named_children()))
    x = (3 * torch.randn(shape, dtype=torch.double)).requires_grad_()
    y = x.detach().clone().requires_grad_()
    expected, found = plain(x), ours(y)
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        torch.testing.assert_close(ours(y), expected)
    weights = torch.randn(shape, dtype=torch.double)
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    torch.testing.assert_close(y.grad, x.grad)
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in plain.named_parameters()]
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_autocast_computes_the_products_in_bf16():
    ours = QuickGELUMLP(OrderedDict(mlp(QuickGELU()).named_children()))
    x = torch.randn(4, 6)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        found = ours(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), ours(x), atol=2e-2, rtol=2e-2)


def test_only_mlps_of_these_very_layers_are_replaced():
    class Other(nn.Sequential):
        pass

    hooked = Other(OrderedDict(mlp(QuickGELU()).named_children()))
    model = nn.ModuleDict({"quick": mlp(QuickGELU()), "plain": mlp(nn.GELU()), "other": hooked})
    use_quick_gelu_mlps(model)
    assert [type(part) for part in model.values()] == [QuickGELUMLP, nn.Sequential, Other]


@pytest.mark.parametrize("quick", [True, False])
def test_a_built_clip_has_them_where_it_uses_quick_gelu(quick):
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 16, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
    }
    clip = build_clip(config, quick_gelu=quick)
    assert sum(isinstance(part, QuickGELUMLP) for part in clip.modules()) == 3 * quick
