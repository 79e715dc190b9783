"""Several processes with a model that trains nothing."""

from __future__ import annotations

from typing import Any

from mmengine.registry import MODEL_WRAPPERS
from torch import nn


@MODEL_WRAPPERS.register_module()
class UntrainedDistributed(nn.Module):
    """Stands where ``MMDistributedDataParallel`` would, which refuses a model without gradients to share.

    Args:
        module: the model; every process has its own, and its own part of the images.
        settings: of the wrapper that it stands for; nothing depends on them.
    """

    def __init__(self, module: Any, **settings: Any) -> None:
        super().__init__()
        self.module = module

    def test_step(self, data: Any) -> Any:
        """The model's own."""
        return self.module.test_step(data)

    def val_step(self, data: Any) -> Any:
        """The model's own."""
        return self.module.val_step(data)

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        """The model's own, which says that there is nothing to train."""
        return self.module.train_step(data, optim_wrapper)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own."""
        return self.module(*args, **kwargs)
