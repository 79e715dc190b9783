"""Random augmentation that a resumed run repeats.

A run that goes on from a checkpoint skips the samples that were used before it without loading them, so random
transforms would meet other random numbers than in an uninterrupted run. Here they are a function of the seed and of
the sample's number in the whole training, whatever workers and processes do.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sized
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.dist import get_dist_info, sync_random_seed
from mmseg.registry import DATA_SAMPLERS, TRANSFORMS
from torch.utils.data import Sampler


class Draw(int):
    """The index of a sample, and its place in the sequence of all samples of a training.

    Attributes:
        number: place in the sequence, over all processes, from 0.
        seed: of the sampler.
    """

    number: int
    seed: int

    def __new__(cls, index: int, number: int, seed: int) -> Draw:
        """An index with its number and seed."""
        draw = super().__new__(cls, index)
        draw.number, draw.seed = number, seed
        return draw

    def _with(self, index: int) -> Draw:
        return Draw(index, self.number, self.seed)

    # what wrappers of data sets make of an index is the same draw

    def __add__(self, other: int) -> Draw:
        return self._with(int(self) + other)

    def __sub__(self, other: int) -> Draw:
        return self._with(int(self) - other)

    def __mod__(self, other: int) -> Draw:
        return self._with(int(self) % other)

    def __floordiv__(self, other: int) -> Draw:
        return self._with(int(self) // other)

    def __reduce__(self) -> tuple[Any, ...]:
        return Draw, (int(self), self.number, self.seed)


@DATA_SAMPLERS.register_module()
class ReplayableSampler(Sampler[Draw]):
    """Endless indices for training by iterations, each with its number; see :class:`SeedAugmentation`.

    In training by epochs, which ``IterationSeedHook`` tells it of, indices end with each epoch.

    Args:
        dataset: what is sampled.
        shuffle: whether each pass takes a new order.
        seed: of order and augmentation; None is one drawn for all processes.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        self.rank, self.world_size = get_dist_info()
        self.size, self.shuffle = len(dataset), shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.start = 0
        self.epoch: int | None = None

    def _orders(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            order = torch.randperm(self.size, generator=generator) if self.shuffle else torch.arange(self.size)
            yield from order.tolist()

    def __iter__(self) -> Iterator[Draw]:
        first, end = self.rank + self.start * self.world_size, None
        if self.epoch is not None:
            total = len(self) * self.world_size
            first, end = self.epoch * total + self.rank, (self.epoch + 1) * total
        numbered = enumerate(self._orders())
        for number, index in itertools.islice(numbered, first, end, self.world_size):
            yield Draw(index, number, self.seed)

    def skip(self, num_samples: int) -> None:
        """Start after the first ``num_samples`` of this process, which an earlier run has used."""
        self.start = num_samples

    def __len__(self) -> int:
        """Indices of this process in an epoch."""
        return -(-self.size // self.world_size)

    def end_with_epochs(self) -> None:
        """Give one epoch's indices at a time from now on, beginning with the first epoch."""
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose indices come next; without effect in training by iterations."""
        if self.epoch is not None:
            self.epoch = epoch


@TRANSFORMS.register_module()
class SeedAugmentation(BaseTransform):
    """Seeds the random numbers of the transforms after it by the sample's :class:`Draw`.

    Stands first in a training pipeline. A sample that comes without a draw, from another sampler, is passed on as
    it is.

    Required keys: ``sample_idx``. Changed keys: none.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        draw = results.get("sample_idx")
        if isinstance(draw, Draw):
            state = np.random.SeedSequence((draw.seed, draw.number)).generate_state(3)
            random.seed(int(state[0]))
            np.random.seed(int(state[1]))
            torch.manual_seed(int(state[2]))
        return results
