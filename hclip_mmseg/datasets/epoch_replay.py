"""Random augmentation that a resumed run repeats, in training by epochs."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.dataset import DefaultSampler
from mmseg.registry import DATA_SAMPLERS

from hclip_mmseg.datasets.replay import Draw


@DATA_SAMPLERS.register_module()
class EpochReplayableSampler(DefaultSampler):
    """MMEngine's sampler, each index with its number in the whole training; see ``SeedAugmentation``.

    Args:
        dataset, shuffle, seed, round_up: of ``DefaultSampler``.
    """

    def __iter__(self) -> Iterator[Draw]:
        before = self.epoch * self.total_size + self.rank
        for place, index in enumerate(super().__iter__()):
            yield Draw(index, before + place * self.world_size, self.seed)
