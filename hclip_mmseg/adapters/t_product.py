"""Mode products and the T-product of tensors of order three and more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Transform = Sequence[Tensor]
"""One invertible matrix for each of the modes 3, 4, ..., p, in that order."""


def mode_product(tensor: Tensor, matrix: Tensor, mode: int) -> Tensor:
    """T x_k M: result[.., j, ..] = sum_i M[j, i] T[.., i, ..], the index i standing in mode k.

    Args:
        tensor: [n_1, ..., n_p].
        matrix: [m, n_k].
        mode: k, counted from 1 as the papers do.

    Returns:
        [n_1, ..., m, ..., n_p].

    Raises:
        ValueError: if there is no such mode or the matrix does not fit it.
    """
    if not 1 <= mode <= tensor.dim():
        raise ValueError(f"a tensor of order {tensor.dim()} has no mode {mode}; modes count from 1")
    size = tensor.shape[mode - 1]
    if matrix.dim() != 2 or matrix.shape[1] != size:
        raise ValueError(
            f"the matrix of a product along mode {mode} of {tuple(tensor.shape)} must be [m, {size}], "
            f"got {tuple(matrix.shape)}"
        )
    before, after = tensor.shape[: mode - 1], tensor.shape[mode:]
    folded = tensor.reshape(before.numel(), size, after.numel())
    product = torch.bmm(matrix.expand(before.numel(), -1, -1), folded)
    return product.reshape(*before, matrix.shape[0], *after)


def transform_modes(tensor: Tensor, matrices: Transform) -> Tensor:
    """T x_3 M_3 x_4 M_4 ... x_p M_p: the tensor in the domain of a transform.

    Args:
        tensor: [n_1, n_2, n_3, ..., n_p].
        matrices: M_3, ..., M_p, each [m_k, n_k].

    Returns:
        [n_1, n_2, m_3, ..., m_p].

    Raises:
        ValueError: if there is not one fitting matrix for each mode from 3 on.
    """
    if len(matrices) != tensor.dim() - 2:
        raise ValueError(
            f"a tensor of order {tensor.dim()} is transformed by {max(tensor.dim() - 2, 0)} matrices, "
            f"one for each mode from 3 on, got {len(matrices)}"
        )
    for mode, matrix in enumerate(matrices, start=3):
        tensor = mode_product(tensor, matrix, mode)
    return tensor


def facewise_product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix products of the frontal slices: [m, n, ...] and [n, k, ...] -> [m, k, ...]."""
    return torch.einsum("ij...,jk...->ik...", a, b)


def t_product(a: Tensor, b: Tensor, transform: Transform | Literal["dft"] | None = None) -> Tensor:
    """The T-product A * B.

    With the DFT it is fold(circ(A) unfold(B)) (Kilmer and Martin, 2011; for order p, where circ is
    taken recursively, Martin, Shafer and LaRue, 2013), computed as both say: transform A and B along
    modes 3 to p, multiply their frontal slices, transform back. Any invertible matrices may stand in
    for the DFT (Kernfeld, Kilmer and Aeron, 2015).

    Args:
        a: [m, n, n_3, ..., n_p], p >= 3.
        b: [n, k, n_3, ..., n_p].
        transform: None or 'dft', or invertible matrices [n_k, n_k] for the modes 3 to p.

    Returns:
        [m, k, n_3, ..., n_p]; real for real ``a`` and ``b``, unless ``transform`` holds complex matrices.

    Raises:
        ValueError: if the shapes do not fit or a matrix of the transform is not invertible.
    """
    if a.dim() < 3 or a.dim() != b.dim() or a.shape[1] != b.shape[0] or a.shape[2:] != b.shape[2:]:
        raise ValueError(
            "the T-product takes [m, n, n_3, ..., n_p] and [n, k, n_3, ..., n_p], "
            f"got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    if transform is None or isinstance(transform, str):
        if transform not in (None, "dft"):
            raise ValueError(f"transform must be None, 'dft' or a sequence of matrices, not {transform!r}")
        return _dft_product(a, b)
    inverse = _inverse(transform)
    product = facewise_product(transform_modes(a, transform), transform_modes(b, transform))
    return transform_modes(product, inverse)


def _dft_product(a: Tensor, b: Tensor) -> Tensor:
    modes = tuple(range(2, a.dim()))
    product: Tensor = torch.fft.ifftn(
        facewise_product(torch.fft.fftn(a, dim=modes), torch.fft.fftn(b, dim=modes)), dim=modes
    )
    return product if a.is_complex() or b.is_complex() else product.real


def _inverse(transform: Transform) -> list[Tensor]:
    inverse = []
    for mode, matrix in enumerate(transform, start=3):
        if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"the transform of mode {mode} must be square, got {tuple(matrix.shape)}")
        if torch.linalg.matrix_rank(matrix.detach()) < len(matrix):
            raise ValueError(f"the transform of mode {mode} is singular; the T-product needs its inverse")
        inverse.append(torch.linalg.inv(matrix))
    return inverse
