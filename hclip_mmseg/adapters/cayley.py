"""The Cayley map from square matrices to orthogonal ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hclip_mmseg.adapters.precision import at_least_fp32, without_autocast


class _CayleyMap(torch.autograd.Function):
    """R = 2 (I + S)^-1 - I, with the gradient written in R alone.

    dR = -(R + I) dS (R + I) / 2: the backward pass is two products with a matrix that is known already and
    of norm at most 2, in place of a second, ill-conditioned inversion.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        wide = x.double()
        system = wide / 2 - wide.mT / 2
        system.diagonal(dim1=-2, dim2=-1).add_(1)
        # inv_ex does not wait for the GPU to report a singular matrix, which I + S never is.
        inverse: Tensor = torch.linalg.inv_ex(system)[0].mul_(2)
        inverse.diagonal(dim1=-2, dim2=-1).sub_(1)
        rotation = inverse.to(x.dtype)
        ctx.save_for_backward(rotation)
        return rotation

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (rotation,) = ctx.saved_tensors
        with without_autocast(rotation):
            shifted = rotation + torch.eye(rotation.shape[-1], dtype=rotation.dtype, device=rotation.device)
            grad_skew: Tensor = shifted.mT @ grads[0] @ shifted.mT / -2
        return (grad_skew - grad_skew.mT) / 2


def cayley(x: Tensor) -> Tensor:
    """R = (I - S)(I + S)^-1 with S = (X - X^T) / 2.

    The papers write the same family as (I + Q)(I - Q)^-1 with Q = -S. As I - S = 2 I - (I + S), it is
    R = 2 (I + S)^-1 - I. S has imaginary eigenvalues, so I + S is never singular, but its condition number
    grows with |S|: entries of 1e4 leave fp32 with two or three digits. It is therefore inverted in float64
    and only R is rounded, which keeps |R^T R - I| below 1e-5 in fp32 up to
    |S| of about 1e10, and costs little beside the towers. At S = 0 the result is I bit for bit.

    Autocast is off inside. Differentiable twice.

    Args:
        x: any real matrices, [..., q, q].

    Returns:
        Orthogonal matrices [..., q, q], fp32 or, for float64 input, float64.

    Raises:
        ValueError: if the last two dimensions of ``x`` differ.
    """
    if x.dim() < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"the Cayley map takes square matrices [..., q, q], got shape {tuple(x.shape)}")
    with without_autocast(x):
        rotation: Tensor = _CayleyMap.apply(at_least_fp32(x))
    return rotation
