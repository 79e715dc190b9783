"""Products with block-diagonal matrices that are never built.

D = diag(R_1, ..., R_b) is given as its blocks [b, q, q]. A frozen weight W of [out, in] is turned on
its input side, W' = W D, or on its output side, W' = D W.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.adapters.precision import autocast_dtype

Side = Literal["input", "output"]
"""Where a weight is turned: W D ('input') or D W ('output')."""

Operand = Literal["weight", "activation"]
"""What is multiplied by the blocks: the weight before, or the activations before or after it."""


def turn_weight(weight: Tensor, blocks: Tensor, side: Side) -> Tensor:
    """W D ('input') or D W ('output').

    Args:
        weight: W, [out, in].
        blocks: R_1, ..., R_b, [b, q, q].
        side: 'input', where b q = in, or 'output', where b q = out.

    Returns:
        [out, in] in the dtype of ``weight``; the product runs in the wider of the two dtypes.

    Raises:
        ValueError: if the blocks do not fit that side of the weight, or on another side.
    """
    _check(weight, blocks, side)
    dtype = torch.promote_types(weight.dtype, blocks.dtype)
    split, blocks = weight.to(dtype), blocks.to(dtype)
    if side == "input":
        turned = torch.einsum("obi,bij->obj", split.reshape(-1, *blocks.shape[:2]), blocks)
    else:
        turned = torch.bmm(blocks, split.reshape(*blocks.shape[:2], -1))
    return turned.reshape(weight.shape).to(weight.dtype)


def turned_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    blocks: Tensor,
    side: Side,
    operand: Operand | None = None,
    rounded: Tensor | None = None,
) -> Tensor:
    """x W'^T + bias, with W' = W D ('input') or D W ('output').

    On the activations it is (x D^T) W^T + bias or (x W^T) D^T + bias; the bias is never turned. Under
    autocast the products run in its dtype, elsewhere in that of ``x``.

    Args:
        x: [..., in].
        weight: W, [out, in].
        bias: [out] or None.
        blocks: [b, q, q].
        side: see :func:`turn_weight`.
        operand: what to multiply by the blocks; None takes what :func:`cheaper_operand` says.
        rounded: the blocks in autocast's dtype, where they are at hand; None: they are cast here.

    Returns:
        [..., out].

    Raises:
        ValueError: if the blocks do not fit that side of the weight, or on another side or operand.
    """
    _check(weight, blocks, side)
    if operand is None:
        operand = cheaper_operand(
            x.shape[:-1].numel(),
            (weight.shape[0], weight.shape[1]),
            blocks.shape[-1],
            side,
            training=torch.is_grad_enabled() and blocks.requires_grad,
        )
    blocks = blocks if rounded is None else rounded
    if operand == "weight":
        return F.linear(x, turn_weight(weight, blocks, side), bias)
    if operand != "activation":
        raise ValueError(f"operand must be 'weight', 'activation' or None, not {operand!r}")
    if side == "input":
        return F.linear(_turn(x, blocks), weight, bias)
    turned = _turn(F.linear(x, weight), blocks)
    return turned if bias is None else turned + bias.to(turned.dtype)


def cheaper_operand(
    tokens: int, weight_shape: tuple[int, int], block_size: int, side: Side, *, training: bool
) -> Operand:
    """Whether turning the weight or the activations takes fewer multiply-adds.

    Args:
        tokens: number of rows of x.
        weight_shape: (out, in).
        block_size: q.
        side: 'input' or 'output'.
        training: whether a backward pass to the blocks will follow.
    """
    weight = turning_cost("weight", tokens, weight_shape, block_size, side, training=training)
    activation = turning_cost("activation", tokens, weight_shape, block_size, side, training=training)
    return "weight" if weight < activation else "activation"


def turning_cost(
    operand: Operand,
    tokens: int,
    weight_shape: tuple[int, int],
    block_size: int,
    side: Side,
    *,
    training: bool,
) -> int:
    """Multiply-adds that turning adds to a frozen projection; arguments as :func:`cheaper_operand`.

    On the weight: in out q; the backward pass adds the same for the blocks, after a gradient of W' of
    tokens in out, which a frozen weight never needs. On the activations of that side, of width w:
    tokens w q; the backward pass adds the same for the blocks and once more for the activations.
    """
    out_features, in_features = weight_shape
    if operand == "weight":
        turn = in_features * out_features * block_size
        return 2 * turn + tokens * in_features * out_features if training else turn
    width = in_features if side == "input" else out_features
    turn = tokens * width * block_size
    return 3 * turn if training else turn


def _turn(x: Tensor, blocks: Tensor) -> Tensor:
    """x D^T for x of [..., b q]; under autocast in its dtype."""
    dtype = autocast_dtype(x.device) or x.dtype
    split = x.to(dtype).reshape(-1, *blocks.shape[:2])
    turned: Tensor = _Turn.apply(split, blocks.to(dtype))
    return turned.view(x.shape)


class _Turn(torch.autograd.Function):
    """x_i R_i^T for x of [n, b, q] and R of [b, q, q], written to where it belongs in [n, b, q].

    As a batched product alone it would come out as [b, n, q], and be copied into place here and once more in the
    backward pass, which together costs about half as much as the product.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, blocks: Tensor) -> Tensor:
        ctx.save_for_backward(x, blocks)
        if torch.compiler.is_compiling():  # which places results itself, and takes no such `out`
            return torch.bmm(x.transpose(0, 1), blocks.mT).transpose(0, 1).contiguous()
        turned = torch.empty_like(x, memory_format=torch.contiguous_format)
        torch.bmm(x.transpose(0, 1), blocks.mT, out=turned.transpose(0, 1))
        return turned

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (grad,) = grads
        x, blocks = ctx.saved_tensors
        of_x: Tensor | None = _Turn.apply(grad, blocks.mT) if ctx.needs_input_grad[0] else None
        of_blocks = torch.bmm(grad.permute(1, 2, 0), x.transpose(0, 1)) if ctx.needs_input_grad[1] else None
        return of_x, of_blocks


def _check(weight: Tensor, blocks: Tensor, side: Side) -> None:
    if side not in ("input", "output"):
        raise ValueError(f"side must be 'input' or 'output', not {side!r}")
    width = weight.shape[1 if side == "input" else 0]
    if blocks.dim() != 3 or blocks.shape[1] != blocks.shape[2] or blocks.shape[:2].numel() != width:
        raise ValueError(
            f"blocks of shape {tuple(blocks.shape)} do not make up the {side} side of a weight of shape "
            f"{tuple(weight.shape)}, which is {width} wide"
        )
