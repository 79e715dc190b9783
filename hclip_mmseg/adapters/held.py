"""Tools for holding what was computed from parameters without ever using it when it is out of date."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook


class ParameterVersions:
    """The state of some parameters at one moment.

    A parameter counts as changed when it is another object, lies in other memory, was written to in
    place (optimizers, ``load_state_dict``, ``copy_``), or has had ``requires_grad`` switched. PyTorch
    does not count writes through ``parameter.data``; whoever makes them has to say so. Nor does it count
    those of fused optimizers, which is made good for here after each of their steps.

    Args:
        parameters: what to watch, in a fixed order.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        # The parameters and aliases of their memory are kept, so that neither an id nor an address
        # can come to belong to something new while this lives.
        self._entries = [(p, p.detach(), _version(p), p.requires_grad) for p in parameters]

    def current(self, parameters: Iterable[Tensor]) -> bool:
        """Whether ``parameters`` are still as they were."""
        now = list(parameters)
        return len(now) == len(self._entries) and all(
            p is then
            and p.data_ptr() == alias.data_ptr()
            and p.requires_grad == required
            and version is not None
            and version == _version(p)
            for p, (then, alias, version, required) in zip(now, self._entries, strict=True)
        )


def _version(parameter: Tensor) -> int | None:
    # Tensors made in inference mode do not count their changes.
    return None if parameter.is_inference() else parameter._version


def _count_fused_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    for group in optimizer.param_groups:
        if group.get("fused"):
            for parameter in group["params"]:
                if parameter.grad is not None and not parameter.is_inference():
                    increment_version(parameter)


register_optimizer_step_post_hook(_count_fused_step)


def own_saved_tensors() -> AbstractContextManager[None]:
    """A context in which a graph keeps its saved tensors itself, whatever hooks are set around it.

    What is held outlives the forward pass that happened to compute it. If that pass ran inside
    activation checkpointing, the checkpoint would count the tensors saved here as its own and miss
    them when it runs again and finds the result held. Hooks nearest to an operation win, and these
    hand the tensors through, with autograd's check for writes in place.
    """
    return torch.autograd.graph.saved_tensors_hooks(_pack, _unpack)


def _pack(tensor: Tensor) -> tuple[Tensor, int | None]:
    # detach(): a hook that returns its own argument makes a reference cycle.
    return tensor.detach(), _version(tensor)


def _unpack(saved: tuple[Tensor, int | None]) -> Tensor:
    tensor, version = saved
    if version != _version(tensor):
        raise RuntimeError(
            f"a tensor of shape {tuple(tensor.shape)} that the adapters' gradient needs was modified by an "
            "inplace operation between the forward and the backward pass"
        )
    return tensor
