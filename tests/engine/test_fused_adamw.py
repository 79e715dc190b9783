"""Steps of AdamW on merged groups: the numbers and states of torch's own, in fewer kernels."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hclip_mmseg.costs.kernels import Kernels
from hclip_mmseg.engine import FusedAdamW

SETTINGS = [dict(lr=1e-2, weight_decay=0.1), dict(lr=1e-4, weight_decay=0.1), dict(lr=1e-2, weight_decay=0.0)]


def parameters(count: int = 12) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(3, number + 1, generator=generator)) for number in range(count)]


def one_each(tensors: list[nn.Parameter]) -> list[dict]:
    """Each parameter a group of its own, as MMEngine makes them."""
    return [dict(params=[tensor], **SETTINGS[number % 3]) for number, tensor in enumerate(tensors)]


def train(optimizer: torch.optim.AdamW, steps: int = 3) -> list[Tensor]:
    """Steps by gradients that follow the parameters, with rates that fall."""
    tensors = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    for _ in range(steps):
        for tensor in tensors:
            tensor.grad = tensor.detach().square() + 1
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] *= 0.5
    return [tensor.detach() for tensor in tensors]


def test_steps_and_states_are_those_of_torch():
    ours, other = FusedAdamW(one_each(parameters())), torch.optim.AdamW(one_each(parameters()))
    assert all(map(torch.equal, train(ours), train(other)))
    found, expected = ours.state_dict(), other.state_dict()
    assert found["param_groups"] == expected["param_groups"] and len(ours.param_groups) == 12
    torch.testing.assert_close(found["state"], expected["state"], rtol=0, atol=0)


@pytest.mark.parametrize("before", [torch.optim.AdamW, FusedAdamW])
@pytest.mark.parametrize("after", [torch.optim.AdamW, FusedAdamW])
def test_a_resumed_run_goes_on_as_it_would_have(before, after):
    tensors = parameters()
    first = before(one_each(tensors))
    train(first)
    state, copies = copy.deepcopy(first.state_dict()), copy.deepcopy(tensors)
    expected = train(first)
    second = after(one_each(copies))
    second.load_state_dict(state)
    assert all(map(torch.equal, train(second), expected))


def test_a_checkpoint_of_fused_steps_goes_on_unfused_and_the_other_way_round():
    fused, plain = FusedAdamW(one_each(parameters()), fused=True), FusedAdamW(one_each(parameters()))
    train(fused, 1), train(plain, 1)
    states = [copy.deepcopy(optimizer.state_dict()) for optimizer in (fused, plain)]
    fused.load_state_dict(states[1])
    plain.load_state_dict(states[0])
    assert {group["fused"] for group in fused.param_groups} == {True}
    assert {group["fused"] for group in plain.param_groups} == {None}
    torch.testing.assert_close(train(fused), train(plain))


def test_a_step_runs_a_few_kernels_for_each_rate_and_decay():
    optimizer = FusedAdamW(one_each(parameters()), fused=True)
    train(optimizer, 1)  # makes the states
    with Kernels() as kernels:
        optimizer.step()
    assert kernels.calls.total() <= 2 * len(SETTINGS) and not kernels.waits


def test_on_a_gpu_the_kernel_is_fused_unless_another_form_is_asked_for():
    with FakeTensorMode():
        tensors = [nn.Parameter(torch.empty(3, device="cuda")) for _ in range(2)]
        on_cpu = nn.Parameter(torch.empty(3))
    assert FusedAdamW(one_each(tensors)).param_groups[1]["fused"] is True
    assert FusedAdamW(one_each(tensors), foreach=True).param_groups[0]["fused"] is None
    assert FusedAdamW([*tensors, on_cpu]).param_groups[0]["fused"] is None
