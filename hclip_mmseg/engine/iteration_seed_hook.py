"""Chance that a resumed run repeats."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds torch before every training step with the run's seed, the step and the process.

    The losses of masks are taken at random points. With this a resumed run draws those of an uninterrupted one.
    """

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seeds the generators of all devices."""
        place = runner.iter * get_world_size() + get_rank()
        torch.manual_seed((1_000_003 * (runner.seed or 0) + place) % 2**63)
