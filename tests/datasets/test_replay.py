"""Random augmentation that a resumed run repeats."""

from __future__ import annotations

import pickle
import random
from itertools import islice

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
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


SCENES = dict(
    type="SceneDataset",
    split="train",
    length=3,
    image_size=64,
    pipeline=[
        dict(type="SeedAugmentation"),
        dict(type="RenderScene"),
        dict(type="PhotoMetricDistortion"),
        dict(type="PackSegInputs"),
    ],
)
MIXED = [dict(type="RandomMosaic", prob=1.0, img_scale=(64, 64), center_ratio_range=(0.5, 1.5)), SCENES["pipeline"][-1]]
WRAPPERS = {
    "none": SCENES,
    "repeated": dict(type="RepeatDataset", times=2, dataset=SCENES),
    "joined": dict(type="ConcatDataset", datasets=[SCENES, SCENES]),
    "both": dict(type="RepeatDataset", times=2, dataset=dict(type="ConcatDataset", datasets=[SCENES, SCENES])),
    "mixed": dict(
        type="MultiImageMixDataset", dataset=dict(SCENES, pipeline=SCENES["pipeline"][:-1]), pipeline=MIXED
    ),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_samples_are_augmented_alike_through_wrappers(wrapper):
    init_default_scope("mmseg")
    dataset = DATASETS.build(WRAPPERS[wrapper])

    def sample_of(state: int, number: int, skipped: int) -> torch.Tensor:
        random.seed(state), np.random.seed(state), torch.manual_seed(state)
        sampler = ReplayableSampler(dataset, seed=0)
        sampler.skip(skipped)
        *before, draw = islice(sampler, number - skipped + 1)
        for index in before:
            dataset[index]
        return dataset[draw]["inputs"]

    samples = [sample_of(1, number, 0) for number in range(4)]
    for number, sample in enumerate(samples):
        assert torch.equal(sample, sample_of(2, number, skipped=number))
    assert not torch.equal(samples[0], sample_of(1, len(dataset), 0)), "another pass draws anew"


@pytest.mark.parametrize("processes", [1, 2])
def test_epochs_end_and_go_on_where_iterations_would(processes, monkeypatch):
    monkeypatch.setattr("hclip_mmseg.datasets.replay.get_dist_info", lambda: (0, processes))
    sampler, endless = (ReplayableSampler(range(5), seed=1) for _ in range(2))
    sampler.end_with_epochs()
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    assert [len(epoch) for epoch in epochs] == [len(sampler)] * 3 == [-(-5 // processes)] * 3
    drawn = [(int(draw), draw.number) for epoch in epochs for draw in epoch]
    assert drawn == [(int(draw), draw.number) for draw in islice(endless, len(drawn))]
