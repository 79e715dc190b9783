"""Operations of matrix products, convolutions and attention: two for a multiply-add, whatever kernels torch takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

Shape = Sequence[int]


def attention(query: Shape, key: Shape, value: Shape, *others: Any, **options: Any) -> int:
    """Operations of fused attention: scores, and their product with the values.

    Args:
        query: shape [..., queries, width].
        key: shape [..., keys, width].
        value: shape [..., keys, width of values].
        others, options: what else the operator takes; a causal mask leaves nothing out.
    """
    return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def attention_backward(gradient: Shape, query: Shape, key: Shape, value: Shape, *others: Any, **options: Any) -> int:
    """Operations of fused attention's backward pass.

    Scores are computed again; then come the gradients of the scores, the values, the queries and the keys.

    Args:
        gradient: shape of the output's gradient, [..., queries, width of values].
        query, key, value, others, options: see `attention`.
    """
    return 2 * prod(query[:-1]) * key[-2] * (3 * query[-1] + 2 * value[-1])


def convolution_backward(
    gradient: Shape,
    images: Shape,
    weight: Shape,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    wanted: Sequence[bool],
    **options: Any,
) -> int:
    """Operations of a convolution's backward pass: its forward pass's for each of the two gradients that is wanted.

    torch counts the weight's gradient as if the convolution had one group, too many for a depthwise one.

    Args:
        gradient: shape of the output's gradient, [B, channels, ...].
        images: shape of the input, [B, channels, ...].
        weight: shape of the kernel; with groups, its second size is the channels of one group.
        transposed: whether it is a transposed convolution, which multiplies the kernel at every place of the input.
        wanted: whether gradients of the input, the weight and the bias are computed; sums for the bias count nothing.
        bias, stride, padding, dilation, output_padding, groups, options: not needed.
    """
    places = images if transposed else gradient
    forward = 2 * prod(weight) * places[0] * prod(places[2:])
    return forward * (int(wanted[0]) + int(wanted[1]))


def linear(x: Shape, weight: Shape, *others: Any, **options: Any) -> int:
    """Operations of oneDNN's linear layer, which predictions take on some CPUs.

    Args:
        x: shape [..., in].
        weight: shape [out, in].
        others, options: what else the operator takes; sums for the bias count nothing.
    """
    return 2 * prod(x) * weight[0]


FORMULAS: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward,
    torch.ops.aten.convolution_backward: convolution_backward,
}
"""Operator -> its operations from the shapes of its arguments, where torch has no formula or a wrong one."""
if hasattr(torch.ops.mkldnn, "_linear_pointwise"):  # which builds without oneDNN have not
    FORMULAS[torch.ops.mkldnn._linear_pointwise] = linear


@contextmanager
def counted_operations() -> Iterator[FlopCounterMode]:
    """Counts what runs inside; ``get_total_flops()`` of what it yields tells how much.

    Attention counts the same whether torch takes its fused kernels, on CPU too, or matrix products. The fast path of
    ``nn.MultiheadAttention`` is off meanwhile, as it hides what it computes.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False, custom_mapping=dict(FORMULAS)) as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def operations(function: Callable[[], object], gradients: bool = False) -> int:
    """Operations of a function.

    Args:
        function: what is run.
        gradients: whether it runs with gradients, as a training step needs.
    """
    with counted_operations() as counter, torch.set_grad_enabled(gradients):
        function()
    return int(counter.get_total_flops())
