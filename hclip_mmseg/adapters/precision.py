"""Precision: the adapters' own arithmetic in fp32 or wider, and the dtype that autocast takes products in."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def at_least_fp32(x: Tensor) -> Tensor:
    """``x`` in fp32, or unchanged where it is fp32 or wider already."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The dtype that autocast takes products in on a device now; None where it is off, or there is none (meta)."""
    # by name, since torch before 2.12 records no question for available devices in a graph
    if device.type == "meta" or not torch.is_autocast_enabled(device.type):
        return None
    return torch.get_autocast_dtype(device.type)


def as_products_take(x: Tensor) -> Tensor:
    """``x`` in autocast's dtype, for several products that would cast it each; unchanged where autocast is off."""
    dtype = autocast_dtype(x.device)
    return x if dtype is None else x.to(dtype)


def without_autocast(x: Tensor) -> AbstractContextManager[None]:
    """A context in which autocast leaves operations on the device of ``x`` alone."""
    return torch.autocast(x.device.type, enabled=False)
