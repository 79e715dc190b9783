"""FSDP for models whose towers are called by several doors."""

from __future__ import annotations

import copy
from typing import Any

import torch
from mmengine.model import MMFullyShardedDataParallel
from mmseg.registry import MODEL_WRAPPERS
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel


@MODEL_WRAPPERS.register_module()
class ShardedModel(MMFullyShardedDataParallel):
    """MMEngine's wrapper for FSDP, with the model as one unit.

    Image tower, text tower and head are entered by several methods besides ``forward`` (CLIP's blocks lend their
    weights to adapted projections), and FSDP gathers a unit's weights only around its ``forward``. So the unit is
    the whole model: gradients and optimizer states are sharded all through a step, trained weights between steps.
    Frozen weights stay whole on every process: they need no gradient, which a unit would make for all that it holds.

    Inference needs no sharding: the weights are gathered once, in a copy of the model that folds its adapters and
    caches its text embeddings as a model alone does. It is dropped when the mode changes, for training or for the
    next evaluation.

    Without a GPU the wrapper works on CPUs (gloo).

    Args:
        module: the model.
        device_id: index of the GPU; ignored where there is none.
        sharding_strategy: 'SHARD_GRAD_OP' (default) keeps the weights from forward to backward, 'FULL_SHARD' does not.
        kwargs: of ``MMFullyShardedDataParallel``.

    Raises:
        ValueError: if a scalar parameter is trained, as its gradients would differ between processes.
    """

    def __init__(
        self,
        module: nn.Module,
        device_id: int | None = None,
        sharding_strategy: str = "SHARD_GRAD_OP",
        **kwargs: Any,
    ) -> None:
        scalars = [name for name, p in module.named_parameters() if p.dim() == 0 and p.requires_grad]
        if scalars:
            raise ValueError(f"FSDP cannot shard scalar parameters, and these are trained: {', '.join(scalars)}")
        super().__init__(
            module,
            device_id=device_id if torch.cuda.is_available() else torch.device("cpu"),
            sharding_strategy=sharding_strategy,
            use_orig_params=True,
            ignored_states=[p for p in module.parameters() if not p.requires_grad],
            **kwargs,
        )
        self._whole: list[nn.Module] = []  # a list, since a module would become part of this one

    def train(self, mode: bool = True) -> ShardedModel:
        """Changes the mode, and drops the gathered copy."""
        self._whole = []
        super().train(mode)
        return self

    def val_step(self, data: Any) -> Any:
        """Results of the gathered copy."""
        return self._gathered().val_step(data)

    def test_step(self, data: Any) -> Any:
        """Results of the gathered copy."""
        return self._gathered().test_step(data)

    def _gathered(self) -> Any:
        if not self._whole:
            with FullyShardedDataParallel.summon_full_params(self, writeback=False):
                self._whole = [copy.deepcopy(self.module)]
        return self._whole[0]
