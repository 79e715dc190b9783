"""Models on a GPU that is not there: tensors without numbers, which refuse to mix devices and to be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hclip_mmseg.adapters.held import forget
from hclip_mmseg.models import device_memory
from hclip_mmseg.models.cost_aggregation import windows

GIBI = 1 << 30


@contextmanager
def fake_gpu(model: nn.Module, free: float = 64 * GIBI) -> Iterator[None]:
    """Everything made inside has no numbers, and the model's parameters lie on a GPU; for passes forward.

    The names' tokens, made before, are taken as they are. torch starts no backward pass on a GPU that is not there.

    Args:
        model: left on the GPU; it has no weights any more.
        free: bytes that the GPU has free.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    mode.cache_enabled = False  # it mistakes inference mode for no_grad
    forget(model)
    windows.forget_layouts()
    moved: dict[int, Tensor] = {}
    with mode:
        for module in model.modules():
            for held in (module._parameters, module._buffers):
                for name, tensor in held.items():
                    if tensor is not None:
                        held[name] = moved.setdefault(id(tensor), _empty(tensor))
    with pytest.MonkeyPatch.context() as patch, mode:
        # MMDetection's pixel decoder reads shapes by an operator that takes no tensor without numbers
        patch.setattr(torch, "_shape_as_tensor", lambda tensor: torch.tensor(tensor.shape))
        patch.setattr(device_memory, "free_memory", lambda device, fixed=False: free)
        yield
    windows.forget_layouts()


@contextmanager
def autocast_of_a_gpu(dtype: torch.dtype = torch.bfloat16) -> Iterator[None]:
    """Autocast as on a GPU; ``torch.autocast("cuda")`` itself stays off where there is none.

    Attention is left out: its fused kernel takes any dtype, and tensors without numbers run a composed one.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", lambda q, k, v, **options: torch.empty_like(q))
        torch.set_autocast_enabled("cuda", True)
        torch.set_autocast_dtype("cuda", dtype)
        torch.autocast_increment_nesting()
        try:
            yield
        finally:
            if torch.autocast_decrement_nesting() == 0:
                torch.clear_autocast_cache()
            torch.set_autocast_enabled("cuda", False)


@contextmanager
def cut_as_on_a_gpu(free: float = 64 * GIBI) -> Iterator[None]:
    """Passes on the CPU are cut into chunks as on a GPU with so many bytes free."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_memory, "has_memory_of_its_own", lambda device: True)
        patch.setattr(device_memory, "free_memory", lambda device, fixed=False: free)
        yield


def _empty(tensor: Tensor) -> Tensor:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
