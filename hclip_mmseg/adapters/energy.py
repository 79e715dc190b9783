"""Measures of what an adapter keeps: hyperspherical energy and orthogonality."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.adapters.precision import without_autocast
from hclip_mmseg.adapters.turning import Side

Axis = Literal[0, 1]
"""What is taken for the neurons of a weight: its rows (0) or its columns (1)."""

NEAREST = 1e-6
"""Smallest distance of two neurons that the energy tells from a larger one."""


def kept_axis(side: Side) -> Axis:
    """The neurons whose energy orthogonal blocks on ``side`` keep: rows under W D, columns under D W."""
    return 0 if side == "input" else 1


def hyperspherical_energy(weight: Tensor, axis: Axis = 0, chunk_size: int = 1024) -> Tensor:
    """HE(W) = sum over i != j of 1 / |w_i / |w_i| - w_j / |w_j||.

    A neuron of norm 0 has no direction and is left out. Two neurons of the same direction would make
    the sum infinite; distances below 1e-6 count as 1e-6, so such a pair adds 2e6, without a gradient.

    Args:
        weight: [out, in].
        axis: 0 if the rows are the neurons, 1 if the columns are.
        chunk_size: number of neurons compared with all others at a time; bounds the memory.

    Returns:
        a float64 scalar >= 0, differentiable in ``weight``.

    Raises:
        ValueError: if the weight is no matrix, or on another axis or a chunk size below 1.
    """
    if weight.dim() != 2:
        raise ValueError(f"hyperspherical energy is that of a matrix [out, in], got {tuple(weight.shape)}")
    if axis not in (0, 1):
        raise ValueError(f"axis must be 0 (rows) or 1 (columns), not {axis!r}")
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, not {chunk_size}")
    neurons = (weight if axis == 0 else weight.T).double()
    neurons = F.normalize(neurons[neurons.detach().any(dim=1)], dim=1, eps=0.0)
    energy = neurons.new_zeros(())
    for start in range(0, len(neurons), chunk_size):
        chunk = neurons[start : start + chunk_size]
        itself = torch.arange(len(chunk), device=chunk.device)
        squared = (2 - 2 * chunk @ neurons.T).clamp_min(NEAREST**2)
        to_itself = torch.zeros_like(squared, dtype=torch.bool)
        to_itself[itself, start + itself] = True
        energy = energy + squared.rsqrt().masked_fill(to_itself, 0.0).sum()
    return energy


def orthogonality_error(blocks: Tensor) -> Tensor:
    """max |R^T R - I| over all entries of all blocks, computed in float64.

    Args:
        blocks: [..., q, q].

    Returns:
        a float64 scalar.

    Raises:
        ValueError: if the blocks are not square or there are none.
    """
    if blocks.dim() < 2 or blocks.shape[-1] != blocks.shape[-2] or not blocks.numel():
        raise ValueError(f"orthogonality is that of square matrices [..., q, q], got {tuple(blocks.shape)}")
    with without_autocast(blocks):
        wide = blocks.double()
        eye = torch.eye(wide.shape[-1], dtype=wide.dtype, device=wide.device)
        return (wide.mT @ wide - eye).abs().amax()
