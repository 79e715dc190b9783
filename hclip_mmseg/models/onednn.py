"""oneDNN's matrix product in the place of torch's usual one on a CPU, where it is the faster of the two.

torch multiplies fp32 matrices by MKL, which on some CPUs (AMD's with AVX-512) leaves half of the speed unused that
oneDNN reaches. torch has no public switch between the two: a 1 x 1 convolution runs in oneDNN, but was measured to take
up to three times the product's time. So this file, and no other, calls torch's own operator for compiled graphs. It is
used after a trial alone, which compares result and time, and without gradients.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

SMALLEST = 1 << 24
"""Fewest multiply-adds of a product for which oneDNN's longer way to a start pays."""
MARGIN = 0.8
"""Part of the usual product's time that oneDNN's may take, so that chance does not choose between equals."""
TRIAL = (577, 768, 2304)
"""Rows, inputs and outputs of the trial: q, k and v of an image of 384 pixels in ViT-B/16."""


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + bias by oneDNN: x [..., in], weight [out, in], bias [out] or None -> [..., out]."""
    # a part of a weight, with gaps between its rows, took a thousand times as long
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight.contiguous(), bias, "none", [], "")
    return result


@lru_cache(maxsize=8)
def is_faster(threads: int) -> bool:
    """Whether oneDNN's product is there, right, and clearly faster than the usual one; tried once a process.

    Args:
        threads: of torch, as the answer may depend on them.
    """
    rows, inputs, outputs = TRIAL
    generator = torch.Generator().manual_seed(0)
    shapes = ((rows, inputs), (outputs, inputs), (outputs,))
    x, weight, bias = (torch.randn(*shape, generator=generator) for shape in shapes)
    if type(x) is not Tensor:  # tensors without numbers, as in tests of shapes
        return False
    with torch.autocast("cpu", enabled=False):  # the first prediction may run under it
        usual, other = (_timed(way, x, weight, bias) for way in (F.linear, product))
    if usual is None or other is None:
        return False
    return torch.allclose(usual[0], other[0], rtol=1e-4, atol=1e-3) and other[1] <= MARGIN * usual[1]


@torch.no_grad()
def _timed(way: Callable[..., Tensor], *arguments: Tensor) -> tuple[Tensor, float] | None:
    """Result and least seconds of a few calls; None where it cannot be called."""
    seconds: list[float] = []
    for _ in range(4):
        start = time.perf_counter()
        try:
            result = way(*arguments)
        except (AttributeError, RuntimeError):  # a build of torch without oneDNN, or with another operator
            return None
        seconds.append(time.perf_counter() - start)
    return result, min(seconds)


class OneDNNProducts(TorchFunctionMode):
    """Inside it large products of linear layers without gradients run in oneDNN; all else is as it was."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """See ``torch.overrides.TorchFunctionMode``."""
        options = kwargs or {}
        if func is F.linear and not options and _takes(*args):
            return product(args[0], args[1], args[2] if len(args) > 2 else None)
        if func is torch.addmm and options.keys() <= {"alpha", "beta"} and _takes(args[1], args[2].t(), args[0]):
            bias, x, transposed = args
            alpha, beta = options.get("alpha", 1), options.get("beta", 1)
            if alpha == beta:
                return product(x, transposed.t(), bias).mul_(alpha)
            return product(x, transposed.t(), None).mul_(alpha).add_(bias, alpha=beta)
        return func(*args, **options)


def _takes(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Whether a product is one that oneDNN is to compute."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
        return False
    tensors = [x, weight] if bias is None else [x, weight, bias]
    plain = all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)
    return plain and (bias is None or bias.dim() == 1) and x.numel() * weight.shape[0] >= SMALLEST
