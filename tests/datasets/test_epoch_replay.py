"""Epochs whose samples know their place in the whole training."""

from hclip_mmseg.datasets.epoch_replay import EpochReplayableSampler
from hclip_mmseg.datasets.replay import Draw


def test_every_sample_of_a_training_has_a_number_of_its_own_and_the_seed():
    sampler = EpochReplayableSampler(range(10), seed=7)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    assert [draw.number for epoch in epochs for draw in epoch] == list(range(30))
    assert all(isinstance(draw, Draw) and draw.seed == 7 for epoch in epochs for draw in epoch)
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs) and epochs[0] != epochs[1]


def test_a_resumed_run_draws_the_same_epoch():
    first, second = EpochReplayableSampler(range(10), seed=7), EpochReplayableSampler(range(10), seed=7)
    first.set_epoch(0), list(first)
    for sampler in (first, second):
        sampler.set_epoch(1)
    assert [(int(d), d.number) for d in first] == [(int(d), d.number) for d in second]


def test_several_processes_share_the_numbers(monkeypatch):
    samplers = [EpochReplayableSampler(range(10), seed=7) for _ in range(2)]
    whole = EpochReplayableSampler(range(10), seed=7)
    for rank, sampler in enumerate(samplers):
        sampler.rank, sampler.world_size, sampler.num_samples = rank, 2, 5
        sampler.set_epoch(1)
    whole.set_epoch(1)
    drawn = sorted((d.number, int(d)) for sampler in samplers for d in sampler)
    assert drawn == [(d.number, int(d)) for d in whole]
