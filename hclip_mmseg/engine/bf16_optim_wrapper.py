"""Mixed precision in bfloat16 on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import autocast
from mmseg.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BF16OptimWrapper(OptimWrapper):
    """An `OptimWrapper` whose forward passes run under autocast in bfloat16.

    bfloat16 has the range of fp32, so the loss needs no scaling; MMEngine's `AmpOptimWrapper`, which scales,
    is for GPUs only.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast around the forward pass, inside what gradient accumulation asks for."""
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield
