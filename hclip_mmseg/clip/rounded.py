"""Modules whose weights are rounded to autocast's dtype before they run, once, and not at every use."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from hclip_mmseg.adapters import Held
from hclip_mmseg.adapters.precision import autocast_dtype, without_autocast
from hclip_mmseg.clip.replaced import with_parameters

AnyModule = TypeVar("AnyModule", bound=nn.Module)
PRODUCTS = (nn.Linear, nn.MultiheadAttention, nn.Conv2d, nn.ConvTranspose2d)
NORMS = (nn.LayerNorm, nn.GroupNorm)


class InputPrecisionNorm(nn.Module):
    """A layer or group norm that computes in the dtype of its input, under autocast too.

    On a GPU autocast takes norms to fp32, so that maps in bfloat16 are cast before each norm and again behind it. Their
    kernels sum moments in fp32 whatever the input, and autocast leaves norms on a CPU alone for that reason. A GPU's
    kernels take input and weights in one dtype only.

    Args:
        norm: in fp32, for input in fp32; stays as it is.
        rounded: the same, its weights in ``dtype``.
        dtype: of autocast.
    """

    def __init__(self, norm: nn.Module, rounded: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self._norm = (norm,)  # a tuple, since its weights are none that are to be rounded
        self.rounded = rounded

    def forward(self, x: Tensor) -> Tensor:
        """``x``, normalised, in its own dtype."""
        norm = self.rounded if x.dtype == self.dtype else self._norm[0]
        with without_autocast(x):
            normed: Tensor = norm(x)
        return normed


def with_rounded_weights(module: AnyModule, dtype: torch.dtype, frozen: bool = False) -> AnyModule:
    """The same module, the weights of its products and norms in autocast's dtype.

    Products get what autocast itself would cast. For it casts frozen weights at every use, and others again wherever
    they are cut or joined first, and wherever activation checkpointing computes a part again.

    Args:
        module: stays as it is.
        dtype: of autocast.
        frozen: whether weights that are trained stay as they are.
    """
    weights = {name: weight for name, weight in rounded_weights(module) if not (frozen and weight.requires_grad)}
    twin = with_parameters(module, {name: weight.to(dtype) for name, weight in weights.items()})
    for path, norm in module.named_modules():
        own = {f"{path}.{name}" for name, _ in norm.named_parameters()} if _is_norm(norm) and path else set()
        if own and own <= weights.keys():
            parent, _, name = path.rpartition(".")
            twin.get_submodule(parent)._modules[name] = InputPrecisionNorm(norm, twin.get_submodule(path), dtype)
    return twin


def rounded_weights(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Names and fp32 weights and biases of linear layers, attentions, convolutions, layer and group norms."""
    return [
        (f"{path}.{name}" if path else name, parameter)
        for path, part in module.named_modules()
        if isinstance(part, PRODUCTS) or _is_norm(part)
        for name, parameter in part.named_parameters(recurse=False)
        if parameter.dtype == torch.float32
    ]


def _is_lent_weights(module: nn.Module) -> bool:
    """Whether FSDP keeps trained weights elsewhere and lends the module tensors, other ones for each pass."""
    lent = (value for part in module.modules() for value in vars(part).values() if isinstance(value, Tensor))
    return any(tensor.requires_grad for tensor in lent)


def _is_norm(part: nn.Module) -> bool:
    # open_clip's and timm's LayerNormFp32 compute in fp32 whatever they are given
    return isinstance(part, NORMS) and part.weight is not None and not type(part).__name__.endswith("Fp32")


class _Twin(NamedTuple):
    """A module with rounded weights, what it was made of, and whether trained weights of it are still to be rounded."""

    made_of: tuple[nn.Module, torch.dtype, bool, bool]
    module: nn.Module
    trained: bool


class RoundedTwin(Generic[AnyModule]):
    """A module's twin with rounded weights, held until one of them changes.

    While gradients are recorded trained weights are rounded anew for each pass, in its graph.
    """

    def __init__(self) -> None:
        self._held: Held[_Twin] = Held()

    def of(self, module: AnyModule, device: torch.device) -> AnyModule:
        """What computes ``module`` now: its twin, or itself where autocast is off, in a compiled pass and under FSDP.

        Args:
            module: on ``device``.
            device: whose autocast counts.
        """
        dtype = autocast_dtype(device)
        if dtype is None or torch.compiler.is_compiling():
            return module
        recording = torch.is_grad_enabled()
        if recording and _is_lent_weights(module):
            return module
        made_of = (module, dtype, recording, module.training)
        if self._held.value is not None and self._held.value.made_of != made_of:
            self._held.forget()
        twin = self._held.get(
            lambda: [w for _, w in rounded_weights(module) if not (recording and w.requires_grad)],
            lambda: _twin(*made_of),
        )
        rounded: AnyModule = twin.module  # type: ignore[assignment]
        return with_rounded_weights(rounded, dtype) if twin.trained else rounded

    def settle(self) -> None:
        """Hold the twin without comparing weights, until :meth:`forget`."""
        self._held.settle()

    def forget(self) -> None:
        """Drop the twin."""
        self._held.forget()


@torch.inference_mode(False)
@torch.no_grad()
def _twin(module: nn.Module, dtype: torch.dtype, recording: bool, training: bool) -> _Twin:
    trained = recording and any(weight.requires_grad for _, weight in rounded_weights(module))
    made_of = (module, dtype, recording, training)
    return _Twin(made_of, with_rounded_weights(module, dtype, frozen=recording), trained)
