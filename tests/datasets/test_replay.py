"""Random augmentation that a resumed run repeats."""

from __future__ import annotations

import pickle
from itertools import islice

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader, Dataset

from hclip_mmseg.datasets import ReplayableSampler
from hclip_mmseg.datasets.replay import Draw


class Noise(Dataset):
    """Samples that a pipeline draws random numbers for; the numbers of 'random', numpy and torch differ."""

    def __init__(self) -> None:
        init_default_scope("mmseg")
        self.pipeline = Compose([dict(type="SeedAugmentation"), draw_noise])

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index):
        return self.pipeline(dict(sample_idx=index))


def draw_noise(results):
    return int(results["sample_idx"]), np.random.rand(), float(torch.rand(()))


def batches(sampler, count, workers=0):
    torch.manual_seed(7)
    loader = DataLoader(
        Noise(), batch_size=2, sampler=sampler, num_workers=workers, collate_fn=pseudo_collate
    )
    return [list(zip(*batch, strict=True)) for batch in islice(loader, count)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_skipped_start_leaves_the_rest_as_it_was(workers):
    whole = batches(ReplayableSampler(Noise(), seed=3), 6, workers)
    resumed = ReplayableSampler(Noise(), seed=3)
    resumed.skip(2 * 2)
    assert batches(resumed, 4) == whole[2:]


def test_a_sample_is_augmented_anew_in_each_pass():
    drawn = [sample for batch in batches(ReplayableSampler(Noise(), seed=3), 5) for sample in batch]
    first, second = drawn[:5], drawn[5:]
    assert sorted(index for index, *_ in first) == sorted(index for index, *_ in second) == list(range(5))
    assert len({noise for _, noise, _ in drawn}) == len({noise for *_, noise in drawn}) == 10


def test_processes_share_the_sequence(monkeypatch):
    alone = list(islice(ReplayableSampler(range(5), seed=1), 8))
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr("hclip_mmseg.datasets.replay.get_dist_info", lambda rank=rank: (rank, 2))
        shares.append(list(islice(ReplayableSampler(range(5), seed=1), 4)))
    together = [draw for pair in zip(*shares, strict=True) for draw in pair]
    assert together == alone
    assert [draw.number for draw in together] == list(range(8))


def test_unshuffled_order():
    assert list(islice(ReplayableSampler(range(3), shuffle=False, seed=0), 5)) == [0, 1, 2, 0, 1]


def test_a_draw_survives_the_way_to_a_worker():
    draw = pickle.loads(pickle.dumps(Draw(4, 9, 2)))
    assert (draw, draw.number, draw.seed) == (4, 9, 2)
