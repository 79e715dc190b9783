"""Training with FSDP whose checkpoints hold the whole model."""

from __future__ import annotations

from typing import Any

import torch
from mmengine._strategy.fsdp import FSDPStrategy
from mmengine.optim import BaseOptimWrapper
from mmengine.registry import STRATEGIES
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel


@STRATEGIES.register_module()
class ShardedStrategy(FSDPStrategy):
    """MMEngine's FSDP strategy with :class:`~hclip_mmseg.engine.sharded_model.ShardedModel` and full state dicts.

    Gradients are clipped by the norm of all of them; MMEngine would clip every process's share by its own.

    Args:
        model_wrapper: config of the wrapper.
        state_dict_cfg: as in ``FSDPStrategy``.
        kwargs: of ``FSDPStrategy``.
    """

    def __init__(
        self,
        *,
        model_wrapper: dict[str, Any] | None = None,
        state_dict_cfg: str | dict[str, Any] = "full",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            model_wrapper=model_wrapper or dict(type="ShardedModel"), state_dict_cfg=state_dict_cfg, **kwargs
        )
        if not torch.cuda.is_available():  # torch 2.11 frees weights that are to be brought to the CPU and lie there
            self.state_dict_config.offload_to_cpu = self.optim_state_dict_config.offload_to_cpu = False

    def build_optim_wrapper(self, optim_wrapper: Any, model: nn.Module | None = None) -> BaseOptimWrapper:
        """MMEngine's, whose gradients are clipped by FSDP."""
        built = super().build_optim_wrapper(optim_wrapper, model)
        if getattr(built, "clip_func", None) is nn.utils.clip_grad_norm_:
            built.clip_func = self._clip_by_norm
        return built

    def _clip_by_norm(self, parameters: Any, max_norm: float, norm_type: float = 2.0) -> Tensor:
        return self.model.clip_grad_norm_(max_norm, norm_type)

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads a whole optimizer state; torch has changed the order of the arguments that MMEngine relies on."""
        sharded = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
        )
        self.optim_wrapper.load_state_dict(sharded)
