"""What a training step of several processes shares, so that it is one process's step on the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from processes import start
from tiny_models import tiny_segmentor

from hclip_mmseg.models.segmentors.scored_names import sample_names

NAMES = tuple(f"name {number}" for number in range(40))
LABELS = torch.tensor([3, 17, 39, 255])[torch.randint(0, 4, (4, 1, 64, 64), generator=torch.Generator().manual_seed(0))]
LABELS[2:][LABELS[2:] == 3] = 21  # the halves show different names
IMAGES = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def step(part: slice) -> tuple[list[int], dict[str, float], float]:
    """The names of a step on a part of the batch, what it logs, and the loss that it differentiates."""
    model = tiny_segmentor(names=NAMES, train_cfg=dict(sampled_names=12)).train()
    samples = [SegDataSample(gt_sem_seg=PixelData(data=labels)) for labels in LABELS[part]]
    loss, logged = model.parse_losses(model.loss(IMAGES[part], samples))
    assert loss.requires_grad and not any(value.requires_grad for value in logged.values())
    names = sample_names(LABELS[part], len(NAMES), 12, 255)
    return names.tolist(), {name: float(value) for name, value in logged.items()}, loss.item()


def of_several(work: Callable[[slice], object], rank: int, count: int, folder: Path) -> None:
    """One of several processes: what it finds in its part of the batch becomes a file."""
    meeting = (folder / "meeting").as_uri()
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count)
    share = len(IMAGES) // count
    torch.save(work(slice(rank * share, (rank + 1) * share)), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def found_by_several(work: Callable[[slice], object], count: int, folder: Path) -> list:
    """What each of several processes finds in its part of the batch."""
    started = [start(partial(of_several, work, rank, count, folder), folder / f"{rank}.txt") for rank in range(count)]
    for process in started:
        assert process.wait() == 0, process.log.read_text()[-3000:]
    return [torch.load(folder / f"{rank}.pt") for rank in range(count)]


def test_two_processes_draw_and_log_what_one_does(tmp_path):
    results = found_by_several(step, 2, tmp_path)
    names, logged, loss = step(slice(0, 4))
    assert {3, 17, 21, 39} <= set(names)
    for rank in range(2):
        assert results[rank][0] == names
        assert abs(results[rank][1]["loss"] - logged["loss"]) < 1e-6
        assert abs(results[rank][2] - loss) > 1e-6, "each differentiates the loss of its own part"
    assert abs((results[0][2] + results[1][2]) / 2 - loss) < 1e-6


def gradients(part: slice) -> list[torch.Tensor]:
    """Gradients of all trained parameters by a part of the batch, averaged over processes where there are several."""
    several = torch.distributed.is_initialized()
    model = tiny_segmentor(names=NAMES).train()
    samples = [SegDataSample(gt_sem_seg=PixelData(data=labels)) for labels in LABELS[part]]
    wrapped = torch.nn.parallel.DistributedDataParallel(model) if several else model
    loss, _ = model.parse_losses(wrapped(IMAGES[part], samples, mode="loss"))
    loss.backward()
    return [parameter.grad for parameter in model.parameters() if parameter.requires_grad]


@pytest.mark.parametrize("count", [2, 4])
def test_a_batch_shared_by_processes_gives_the_gradients_of_one(tmp_path, count):
    found = found_by_several(gradients, count, tmp_path)
    expected = gradients(slice(0, 4))
    assert len(expected) > 10 and all(gradient is not None for gradient in expected)
    for of_rank in found:
        torch.testing.assert_close(of_rank, expected, rtol=1e-4, atol=1e-5)
