"""When the relations update the adapters, and when adapters are folded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from hclip_mmseg.adapters import POP
from hclip_mmseg.adapters.held import forget, settle
from hclip_mmseg.models.backbones import HCLIPBackbone
from hclip_mmseg.models.backbones.drift import energy_drift_by_tower, orthogonality_by_tower


def adapted_backbones(model: nn.Module) -> Iterator[Any]:
    """Every `HCLIPBackbone` with adapters in a model, wrapped or not."""
    for module in model.modules():
        if isinstance(module, HCLIPBackbone) and module.adapter is not None:
            yield module


def is_sharded(model: nn.Module) -> bool:
    """Whether FSDP holds the model's parameters."""
    return isinstance(model, FullyShardedDataParallel)


def whole_parameters(model: nn.Module) -> AbstractContextManager[None]:
    """A context in which every process can read all parameters, also of a sharded model."""
    if is_sharded(model):
        return FullyShardedDataParallel.summon_full_params(model, writeback=False)
    return nullcontext()


@HOOKS.register_module()
class DCRCHook(Hook):
    """Runs DCRC once a step and keeps folded weights fresh (docs/hclip.md, DCRC).

    Before each training iteration the relations are computed once, for both towers. Before validation and
    test the adapters are folded into the weights; the frozen weights are never overwritten, so training
    goes on exactly where it was. A model used without this hook computes the same when it needs it; so does one
    that FSDP shards, where weights are whole only inside of the forward pass: the hook then only forgets, and
    ``ShardedModel`` folds in the copy that it evaluates.

    Args:
        interval: training iterations between logs of the orthogonality error per tower (the largest
            |R^T R - I|) and of the drift of the hyperspherical energy per tower (relative to CLIP's): along the axis
            that orthogonal turns keep, and with the rows of every projection as neurons.
            They go to the visualizer's backends; 0 for never.
    """

    priority = "LOW"  # after hooks that exchange weights before and after validation (EMA)

    def __init__(self, interval: int = 500) -> None:
        self.interval = interval

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """The relations update the adapter tensor for both towers."""
        sharded = is_sharded(runner.model)
        for backbone in adapted_backbones(runner.model):
            backbone.adapter.forget() if sharded else backbone.adapter.refresh()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Logs what the adapters have become."""
        if self.interval and self.every_n_train_iters(runner, self.interval):
            with whole_parameters(runner.model):
                self.log(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Folds the adapters; until the end of the evaluation weights are taken to stay as they are."""
        self._fold(runner)

    def before_test_epoch(self, runner: Runner) -> None:
        """Folds the adapters; until the end of the evaluation weights are taken to stay as they are."""
        self._fold(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Gives the folded weights' memory back to training."""
        forget(runner.model)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Forgets the folded weights."""
        forget(runner.model)

    def _fold(self, runner: Runner) -> None:
        forget(runner.model)
        if is_sharded(runner.model):
            return
        for backbone in adapted_backbones(runner.model):
            backbone.fold()
        settle(runner.model)

    @torch.no_grad()
    def log(self, runner: Runner) -> None:
        """Writes orthogonality error and energy drift per tower to the visualizer's backends."""
        for backbone in adapted_backbones(runner.model):
            if not isinstance(backbone.adapter, POP):
                continue
            scalars = {
                f"adapter/orthogonality_error_{tower}": value
                for tower, value in orthogonality_by_tower(backbone).items()
            }
            scalars |= {
                f"adapter/energy_drift_{tower}": value for tower, value in energy_drift_by_tower(backbone).items()
            }
            scalars |= {
                f"adapter/energy_drift_of_rows_{tower}": value
                for tower, value in energy_drift_by_tower(backbone, axis=0).items()
            }
            runner.visualizer.add_scalars(scalars, step=runner.iter + 1)
            runner.logger.info("  ".join(f"{name}: {value:.3e}" for name, value in scalars.items()))
            backbone.adapter.forget()
