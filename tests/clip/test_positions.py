"""Positional embeddings on other grids: what is held is never out of date."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hclip_mmseg.clip import positions as module
from hclip_mmseg.clip.positions import HeldPositions, resized_positions
from hclip_mmseg.costs.kernels import Kernels

GRID = (4, 4)


@pytest.fixture
def parameter():
    return nn.Parameter(torch.randn(1 + 16, 6, generator=torch.Generator().manual_seed(0)))


def held(holder, parameter, to):
    return holder.resized(parameter, GRID, to, "bicubic")


@pytest.mark.parametrize("to", [(2, 7), (9, 3), (4, 4)])
def test_each_channel_is_resized_as_a_image_and_the_cls_token_left_alone(parameter, to):
    found = resized_positions(parameter, GRID, to)
    assert torch.equal(found[0], parameter[0])
    for channel in range(6):
        image = parameter[1:, channel].view(1, 1, *GRID)
        expected = F.interpolate(image, size=to, mode="bicubic").flatten()
        torch.testing.assert_close(found[1:, channel], expected)


@pytest.mark.parametrize("interpolation", ["bicubic", "published"])
@pytest.mark.parametrize("to", [(2, 7), (9, 3)])
def test_gradients_are_deterministic_on_a_gpu_where_that_is_asked_for(parameter, to, interpolation):
    """torch's form has no such gradient there."""
    weights, found = torch.randn(1 + to[0] * to[1], 6), []
    for asked in (False, True):
        torch.use_deterministic_algorithms(asked)
        with Kernels() as kernels:
            with torch.autocast("cpu", torch.bfloat16):
                resized = resized_positions(parameter, GRID, to, interpolation)
            (gradient,) = torch.autograd.grad((resized * weights).sum(), parameter)
        assert ("upsample_bicubic2d_backward" in kernels.calls) is not asked
        found.append((resized, gradient))
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-5)


def test_a_shape_is_resized_once_without_gradients(parameter, monkeypatch):
    calls = []
    monkeypatch.setattr(module, "resized_positions", lambda *a: calls.append(a) or resized_positions(*a))
    holder = HeldPositions()
    with torch.no_grad():
        first = held(holder, parameter, (2, 7))
        held(holder, parameter, (9, 3))
        assert held(holder, parameter, (2, 7)) is first
    assert len(calls) == 2
    with torch.inference_mode():
        held(holder, parameter, (5, 5))
    parameter.requires_grad_(False)
    assert torch.equal(held(holder, parameter, (5, 5)), resized_positions(parameter, GRID, (5, 5)))


def test_trained_positions_get_their_gradient_every_time(parameter):
    holder = HeldPositions()
    for _ in range(2):
        parameter.grad = None
        held(holder, parameter, (2, 7)).square().sum().backward()
        assert (parameter.grad[1:] != 0).any()


@pytest.mark.parametrize("change", ["optimizer", "load", "double", "data"])
def test_a_change_of_the_parameter_is_seen(parameter, change):
    holder, owner = HeldPositions(), nn.ParameterDict({"p": parameter})
    with torch.no_grad():
        before = held(holder, parameter, (2, 7))
    if change == "optimizer":
        parameter.grad = torch.ones_like(parameter)
        torch.optim.SGD([parameter], lr=1.0).step()
    elif change == "load":
        owner.load_state_dict({"p": torch.zeros_like(parameter)})
    elif change == "double":
        owner.double()
    else:
        parameter.data = torch.zeros_like(parameter)
    with torch.no_grad():
        after = held(holder, owner["p"], (2, 7))
    torch.testing.assert_close(after, resized_positions(owner["p"].detach(), GRID, (2, 7)))
    assert not torch.equal(after.float(), before)


def test_a_write_past_the_parameter_is_seen_once_it_is_told_of(parameter):
    holder = HeldPositions()
    with torch.no_grad():
        held(holder, parameter, (2, 7))
        parameter.data.zero_()
        holder.forget()
        assert not held(holder, parameter, (2, 7)).any()


def test_no_more_shapes_are_held_than_allowed(parameter):
    holder = HeldPositions(most=2)
    with torch.no_grad():
        first = held(holder, parameter, (2, 2))
        held(holder, parameter, (3, 3))
        held(holder, parameter, (5, 5))
        again = held(holder, parameter, (2, 2))
    assert again is not first and torch.equal(again, first)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda holder: pickle.loads(pickle.dumps(holder))])
def test_copies_hold_nothing(parameter, copied):
    holder = HeldPositions(most=3)
    with torch.no_grad():
        first = held(holder, parameter, (2, 7))
        other = copied(holder)
        assert other.most == 3
        assert held(other, parameter, (2, 7)) is not first
