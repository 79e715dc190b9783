"""Chance that a resumed run repeats."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dataset import ClassBalancedDataset
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmseg.registry import HOOKS

from hclip_mmseg.datasets.replay import ReplayableSampler


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds torch before every training step with the run's seed, the step and the process.

    The losses of masks are taken at random points. With this a resumed run draws those of an uninterrupted one.
    """

    priority = "VERY_HIGH"

    def before_train(self, runner: Runner) -> None:
        """Let the sampler end with epochs in training by epochs; warn of data that a resumed run augments otherwise."""
        loop = runner.train_loop
        sampler = getattr(loop.dataloader, "sampler", None)
        if isinstance(loop, EpochBasedTrainLoop) and isinstance(sampler, ReplayableSampler):
            sampler.end_with_epochs()
            sampler.set_epoch(loop.epoch)
        dataset = loop.dataloader.dataset
        while dataset is not None:
            if isinstance(dataset, ClassBalancedDataset):
                runner.logger.warning(
                    "ClassBalancedDataset does not tell its images which draw of the training they are: a run that is "
                    "resumed augments them otherwise than an uninterrupted one"
                )
            dataset = getattr(dataset, "dataset", None)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seeds the generators of all devices."""
        place = runner.iter * get_world_size() + get_rank()
        torch.manual_seed((1_000_003 * (runner.seed or 0) + place) % 2**63)
