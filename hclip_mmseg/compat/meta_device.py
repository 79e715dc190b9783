"""Building models without memory for their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def meta_device() -> Iterator[None]:
    """`torch.device("meta")` for models that read single numbers while they are built.

    MMDetection's Swin computes its rates of stochastic depth with `torch.linspace`, whose numbers have to be there.
    """
    with torch.device("meta"), _LinspaceOnCPU():
        yield


class _LinspaceOnCPU(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs.setdefault("device", "cpu")
        return func(*args, **kwargs)
