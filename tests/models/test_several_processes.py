"""What a training step of several processes shares, so that it is one process's step on the whole batch."""

from __future__ import annotations

import multiprocessing
from multiprocessing.queues import Queue
from pathlib import Path

import pytest
import torch
import torch.distributed
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
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


def one_of_two(rank: int, meeting: Path, found: Queue) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=2)
    found.put((rank, step(slice(2 * rank, 2 * rank + 2))))
    torch.distributed.destroy_process_group()


def test_two_processes_draw_and_log_what_one_does(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=one_of_two, args=(rank, tmp_path / "meeting", queue)) for rank in range(2)]
    for process in processes:
        process.start()
    results = dict(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    names, logged, loss = step(slice(0, 4))
    assert {3, 17, 21, 39} <= set(names)
    for rank in range(2):
        assert results[rank][0] == names
        assert abs(results[rank][1]["loss"] - logged["loss"]) < 1e-6
        assert abs(results[rank][2] - loss) > 1e-6, "each differentiates the loss of its own part"
    assert abs((results[0][2] + results[1][2]) / 2 - loss) < 1e-6


def gradients(part: slice, several: bool) -> list[torch.Tensor]:
    """Gradients of all trained parameters by a part of the batch, averaged over processes where there are several."""
    model = tiny_segmentor(names=NAMES).train()
    samples = [SegDataSample(gt_sem_seg=PixelData(data=labels)) for labels in LABELS[part]]
    wrapped = torch.nn.parallel.DistributedDataParallel(model) if several else model
    loss, _ = model.parse_losses(wrapped(IMAGES[part], samples, mode="loss"))
    loss.backward()
    return [parameter.grad for parameter in model.parameters() if parameter.requires_grad]


def of_several(rank: int, count: int, folder: Path) -> None:
    torch.set_num_threads(1)
    meeting = (folder / "meeting").as_uri()
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count)
    share = len(IMAGES) // count
    torch.save(gradients(slice(rank * share, (rank + 1) * share), several=True), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("count", [2, 4])
def test_a_batch_shared_by_processes_gives_the_gradients_of_one(tmp_path, count):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=of_several, args=(rank, count, tmp_path)) for rank in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    expected = gradients(slice(0, 4), several=False)
    assert len(expected) > 10 and all(gradient is not None for gradient in expected)
    for rank in range(count):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), expected, rtol=1e-4, atol=1e-5)
