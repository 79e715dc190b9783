"""Values computed from parameters, held until a parameter changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
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


T = TypeVar("T")


class Held(Generic[T]):
    """A value computed from parameters, computed again when it is asked for after one of them has changed.

    Changes are found by :class:`ParameterVersions`; what it cannot see needs :meth:`forget`. In a graph that
    torch.export or torch.compile records, nothing can be compared: there what is held is used as it is, and where
    nothing is held it is computed in the graph and not held. So compute it before, and forget it after changing
    parameters of a compiled model.

    A trace of torch.jit takes no constant that has a graph: in a trace a value is computed, and held, without.

    Copies and pickles hold nothing: a value may have a graph, and its parameters are not those of the copy.
    """

    def __init__(self) -> None:
        self._value: T | None = None
        self._versions: ParameterVersions | None = None
        self._settled = False
        self._fits_traces = False

    @property
    def value(self) -> T | None:
        """What is held, current or not; None for nothing."""
        return self._value

    def get(self, parameters: Callable[[], Iterable[Tensor]], compute: Callable[[], T]) -> T:
        """The value.

        Args:
            parameters: gives all parameters that ``compute`` reads, in a fixed order.
            compute: makes the value; called when nothing is held or a parameter has changed.
        """
        if torch.compiler.is_compiling():
            return compute() if self._value is None else self._value
        in_trace = is_tracing()
        if (
            self._value is not None
            and (self._settled or self._is_current(parameters()))
            and (self._fits_traces or not in_trace)
        ):
            return self._value
        versions = ParameterVersions(parameters())
        with torch.set_grad_enabled(torch.is_grad_enabled() and not in_trace):
            self._value = value = compute()
        self._versions, self._fits_traces = versions, not torch.is_grad_enabled() or in_trace
        return value

    def settle(self) -> None:
        """From now on :meth:`get` gives what is held without comparing parameters, until :meth:`forget`.

        For whoever knows that the parameters stay as they are, as in an evaluation.
        """
        self._settled = True

    def forget(self) -> None:
        """Drop the value, and compare parameters again from now on."""
        self._value = self._versions = None
        self._settled = False

    def _is_current(self, parameters: Iterable[Tensor]) -> bool:
        return self._versions is not None and self._versions.current(parameters)

    def __deepcopy__(self, memo: dict[int, object]) -> Held[T]:
        return Held()

    def __reduce__(self) -> tuple[type[Held[T]], tuple[()]]:
        return Held, ()


def forget(model: nn.Module) -> None:
    """Drop all values that a model holds: calls ``forget`` of each of its modules that has it.

    Needed after writes that leave no trace in a parameter, as through its ``.data``.
    """
    for module in model.modules():
        if callable(getattr(module, "forget", None)):
            module.forget()  # type: ignore[operator]


def settle(model: nn.Module) -> None:
    """Hold values of a model without comparing its parameters from now on, until :func:`forget`.

    Calls ``settle`` of each of its modules that has it. For whoever knows that the parameters stay as they are: a
    settled model uses what it holds even after they have changed.
    """
    for module in model.modules():
        if callable(getattr(module, "settle", None)):
            module.settle()  # type: ignore[operator]


def _version(parameter: Tensor) -> int | None:
    # Tensors made in inference mode do not count their changes.
    return None if parameter.is_inference() else parameter._version


@torch.compiler.disable  # versions are counted outside of graphs
def _count_fused_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    for group in optimizer.param_groups:
        if group.get("fused"):
            for parameter in group["params"]:
                if parameter.grad is not None and not parameter.is_inference():
                    increment_version(parameter)


register_optimizer_step_post_hook(_count_fused_step)


def is_tracing() -> bool:
    """Whether torch.jit records a graph, as MMEngine's count of operations makes it."""
    tracing: bool = torch.jit.is_tracing()  # type: ignore[no-untyped-call, attr-defined]
    return tracing


def own_saved_tensors() -> AbstractContextManager[None]:
    """A context in which a graph keeps its saved tensors itself, whatever hooks are set around it.

    What is held outlives the forward pass that happened to compute it. If that pass ran inside
    activation checkpointing, the checkpoint would count the tensors saved here as its own and miss
    them when it runs again and finds the result held. Hooks nearest to an operation win, and these
    hand the tensors through, with autograd's check for writes in place. A graph that torch.compile records holds
    nothing (see :class:`Held`) and takes no hooks: there none are set.
    """
    if torch.compiler.is_compiling():
        return nullcontext()
    return torch.autograd.graph.saved_tensors_hooks(_pack, _unpack)


@torch.compiler.disable  # hooks run while a compiled step goes backward
def _pack(tensor: Tensor) -> tuple[Tensor, int | None]:
    # detach(): a hook that returns its own argument makes a reference cycle.
    return tensor.detach(), _version(tensor)


@torch.compiler.disable
def _unpack(saved: tuple[Tensor, int | None]) -> Tensor:
    tensor, version = saved
    if version != _version(tensor):
        raise RuntimeError(
            f"a tensor of shape {tuple(tensor.shape)} that the adapters' gradient needs was modified by an "
            "inplace operation between the forward and the backward pass"
        )
    return tensor
