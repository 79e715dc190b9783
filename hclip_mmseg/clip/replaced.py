"""A module with other numbers in some of its parameters, or with the same ones rounded before it runs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)
PRODUCTS = (nn.Linear, nn.MultiheadAttention, nn.Conv2d, nn.ConvTranspose2d)


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


def with_rounded_products(module: AnyModule, dtype: torch.dtype, frozen: bool = False) -> AnyModule:
    """The same module, its weights of products already in autocast's dtype, as autocast itself would cast them.

    For a module that runs several times: autocast casts frozen weights at every use, and others again wherever they are
    cut or joined first, and wherever activation checkpointing computes a part again.

    Args:
        module: stays as it is.
        dtype: of autocast.
        frozen: whether weights that are trained stay as they are.
    """
    return with_parameters(
        module,
        {name: weight.to(dtype) for name, weight in product_weights(module) if not (frozen and weight.requires_grad)},
    )


def product_weights(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Names and fp32 weights and biases of linear layers, attentions and convolutions; norms compute in fp32."""
    return [
        (f"{path}.{name}" if path else name, parameter)
        for path, part in module.named_modules()
        if isinstance(part, PRODUCTS)
        for name, parameter in part.named_parameters(recurse=False)
        if parameter.dtype == torch.float32
    ]


def _frozen(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value, requires_grad=False)
