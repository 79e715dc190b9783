"""Rounding a weight matrix to eight bits so that its products change as little as possible."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

DAMPING = 3e-3
"""Share of an input's own mean square that is added to it: errors are passed on to inputs of calibration and others."""
FLOOR = 1e-4
"""Share of the mean square of all inputs that is added to each, so that silent ones have a weight too."""
BLOCK = 128
"""Rows that are rounded before the rows after them are corrected."""


class Rounded(NamedTuple):
    """A weight matrix in eight bits.

    Attributes:
        values: int8 [inputs, outputs], -127..127.
        scales: float32 [outputs]; the weight is ``values * scales``.
        error: mean square of what the products lose, as a share of the mean square of the products.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    error: float


def round_matrix(weight: NDArray[np.float32], moment: Matrix) -> Rounded:
    """Round one row after another, and let the rows that are still to come make up for each row's error.

    GPTQ (Frantar et al., ICLR 2023, Algorithm 1): with U the upper Cholesky factor of the inverse of the inputs' second
    moment, row i's error e_i = (w_i - round(w_i)) / U_ii changes the rows j after it by -U_ij e_i, which is the change
    that keeps the squared error of the products least. Rows of the strongest inputs come first.

    Args:
        weight: [inputs, outputs].
        moment: sum or mean of x x^T of the inputs, [inputs, inputs].
    """
    scales = (np.abs(weight).max(axis=0) / 127).astype(np.float32)
    scales[scales == 0] = 1
    diagonal = np.diag(moment)
    order = np.argsort(-diagonal, kind="stable")
    least = FLOOR * diagonal.mean() + np.finfo(np.float64).tiny ** 0.5
    damped = moment + np.diag(DAMPING * diagonal + least)
    factor = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    rest = weight[order].astype(np.float64)
    values = np.zeros(weight.shape, np.int8)
    for start in range(0, len(rest), BLOCK):
        stop = min(start + BLOCK, len(rest))
        errors = np.zeros((stop - start, rest.shape[1]))
        for row in range(start, stop):
            rounded = np.clip(np.round(rest[row] / scales), -127, 127)
            values[order[row]] = rounded
            errors[row - start] = (rest[row] - rounded * scales) / factor[row, row]
            rest[row + 1 : stop] -= np.outer(factor[row, row + 1 : stop], errors[row - start])
        rest[stop:] -= factor[start:stop, stop:].T @ errors
    lost = np.vdot(change := values * scales - weight, moment @ change)
    total = np.vdot(weight, moment @ weight)
    return Rounded(values, scales, float(lost / total) if total > 0 else 0.0)
