"""Conversions that look every number up in a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hclip_mmseg.datasets.preparation.files import Labels, read_label_map
from hclip_mmseg.files.errors import one_line

Table = NDArray[np.int32]

UNKNOWN = -1


def number_table(labels: Mapping[int, int]) -> Table:
    """Number -> label; ``UNKNOWN`` for numbers between that have none."""
    table = np.full(max(labels) + 1, UNKNOWN, np.int32)
    table[list(labels)] = list(labels.values())
    return table


def look_up(table: Table, numbers: NDArray[np.integer], path: Path) -> Labels:
    """``table[numbers]``, ``uint8`` where the table's labels fit into it, else ``uint16``.

    Raises:
        ValueError: if a number has no label: which, in which file.
    """
    known = (numbers >= 0) & (numbers < len(table))
    labels = np.where(known, table[np.where(known, numbers, 0)], UNKNOWN)
    if (labels == UNKNOWN).any():
        raise ValueError(f"{path} holds {numbers[labels == UNKNOWN][0]}, which is none of the data set's numbers")
    return labels.astype(np.uint8 if np.max(table) < 256 else np.uint16)


@dataclass(frozen=True)
class FromImage:
    """Converts label maps that are grey images."""

    table: Table

    def __call__(self, path: Path) -> Labels:
        """Labels ``[H, W]`` of a file; raises ValueError as :func:`look_up`."""
        return look_up(self.table, read_label_map(path), path)


@dataclass(frozen=True)
class FromMatlab:
    """Converts label maps in MATLAB's files.

    Attributes:
        table: number -> label.
        path: the variable, and fields in it, that hold the numbers.
    """

    table: Table
    path: tuple[str, ...]

    def __call__(self, path: Path) -> Labels:
        """Labels ``[H, W]`` of a file.

        Raises:
            ValueError: if the file cannot be read, lacks the variable, or holds other numbers.
        """
        return look_up(self.table, read_matlab(path, self.path), path)


def read_matlab(path: Path, variable: tuple[str, ...]) -> NDArray[np.integer]:
    """A matrix of integers in one of MATLAB's files (version 5).

    Raises:
        ValueError: if the file cannot be read or has no such matrix.
    """
    from scipy.io import loadmat  # half a second that others need not wait for

    try:
        value = loadmat(path, variable_names=[variable[0]])[variable[0]]
        for field in variable[1:]:
            value = value[field][0, 0]
    except (FileNotFoundError, PermissionError):
        raise
    except KeyError as error:
        raise ValueError(f"{path} has no {'.'.join(variable)}, so it is no label map") from error
    except Exception as error:  # what a damaged file makes its reader raise is anybody's guess
        raise ValueError(f"{path} is none of MATLAB's files, or a truncated one: {one_line(error)}") from error
    if value.ndim != 2 or not np.issubdtype(value.dtype, np.integer):
        raise ValueError(f"{'.'.join(variable)} of {path} is no matrix of integers, but {value.dtype} {value.shape}")
    return value
