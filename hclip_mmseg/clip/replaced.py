"""A module with other numbers in some of its parameters."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def with_parameters(module: AnyModule, changes: Mapping[str, Tensor]) -> AnyModule:
    """The same module, but for some parameters; everything else is shared with it, nothing is copied.

    Args:
        module: stays as it is.
        changes: name, as in ``named_parameters``, -> what stands in its place; gradients go through it where it has a
            graph.

    Raises:
        ValueError: if the module has no such parameter, or one of another shape.
    """
    own: dict[str, Tensor] = {}
    inner: dict[str, dict[str, Tensor]] = {}
    for name, value in changes.items():
        child, dot, rest = name.partition(".")
        if dot:
            inner.setdefault(child, {})[rest] = value
        else:
            own[name] = value
    known = {name: p.shape for name, p in module.named_parameters(recurse=False)}
    wrong = [name for name, value in own.items() if known.get(name) != value.shape]
    wrong += [f"{child}.{next(iter(rest))}" for child, rest in inner.items() if child not in module._modules]
    if wrong:
        raise ValueError(f"{type(module).__name__} has no parameters {wrong} of the shapes that are to replace them")
    replaced: dict[str, Any] = {name: _frozen(value) if value.grad_fn is None else value for name, value in own.items()}
    twin = copy.copy(module)
    twin._parameters = {**module._parameters, **replaced}
    twin._modules = {
        **module._modules,
        **{child: with_parameters(module.get_submodule(child), rest) for child, rest in inner.items()},
    }
    return twin


def _frozen(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value, requires_grad=False)
