"""Training with FSDP whose checkpoints hold the whole model."""

from __future__ import annotations

from typing import Any

from mmengine._strategy.fsdp import FSDPStrategy
from mmengine.registry import STRATEGIES
from torch.distributed.fsdp import FullyShardedDataParallel


@STRATEGIES.register_module()
class ShardedStrategy(FSDPStrategy):
    """MMEngine's FSDP strategy with :class:`~hclip_mmseg.engine.sharded_model.ShardedModel` and full state dicts.

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

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads a whole optimizer state; torch has changed the order of the arguments that MMEngine relies on."""
        sharded = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
        )
        self.optim_wrapper.load_state_dict(sharded)
