"""What a model hands to the device: how many kernels, and what makes it wait for a number."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITS = {
    "_local_scalar_dense", "equal", "is_nonzero", "masked_select", "nonzero", "_unique2", "unique_consecutive",
    "unique_dim",
}  # fmt: skip
"""Operators whose result, or its size, the host has to know before it goes on."""
VIEWS = {
    "_unsafe_view", "alias", "detach", "device", "empty", "empty_like", "lift_fresh", "promote_types",
    "_record_function_enter_new", "_record_function_exit",
}  # fmt: skip
"""Operators that compute nothing, beside those that torch itself calls views."""


class Kernels(TorchDispatchMode):
    """Counts the operators that compute something, views left out, while it is entered.

    Attributes:
        calls: name of the operator -> times it ran.
        waits: those of them that the host has to wait for.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operator, and counts it."""
        name = func.overloadpacket.__name__
        if not func.is_view and name not in VIEWS:
            self.calls[name] += 1
        if name in WAITS or (name in ("index", "index_put_") and _by_mask(args[1])):
            self.waits[name] += 1
        return func(*args, **(kwargs or {}))


def _by_mask(indices: Any) -> bool:
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)
