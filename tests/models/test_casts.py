"""Under autocast a weight is cast once a step, and a frozen one once in a training; what is computed stays the same."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_models import HEAD, backbone_config, tiny_segmentor
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hclip_mmseg.clip import rounded
from hclip_mmseg.models import OpenVocabSegmentor

NAMES = tuple(f"thing {number}" for number in range(7))
FORMS = {
    "h-clip": {},
    "cat-seg": dict(adapter=dict(type="TrainedProjections")),
    "lora": dict(adapter=dict(type="LoRA")),
    "plain": dict(adapter=None),
}


class Casts(TorchDispatchMode):
    """Counts how often parameters, whole or in part, are cast, by their names."""

    def __init__(self, model: OpenVocabSegmentor) -> None:
        super().__init__()
        self.names = {p.untyped_storage().data_ptr(): name for name, p in model.named_parameters()}
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ == "_to_copy":
            name = self.names.get(args[0].untyped_storage().data_ptr())
            self.found.update([name] if name else [])
        return func(*args, **(kwargs or {}))


def model_of(name: str, chunk: int | None = None) -> OpenVocabSegmentor:
    head = {**HEAD, "layers": 2, "training_chunk": chunk, "inference_chunk": chunk}
    return tiny_segmentor(names=NAMES, backbone=backbone_config(**FORMS[name]), decode_head=head).train()


def step(model: OpenVocabSegmentor, dtype: torch.dtype | None = torch.bfloat16) -> list[Tensor]:
    """The loss of a step and its gradients."""
    model.zero_grad()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(64 * 64).view(1, 64, 64) % len(NAMES)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=labels)) for _ in images]
    with torch.autocast("cpu", dtype, enabled=dtype is not None):
        loss = model.loss(images, samples)["decode.loss_bce"]
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize("name", FORMS)
def test_each_trained_weight_is_cast_once_a_step_and_frozen_ones_not_again(name, chunk):
    model = model_of(name, chunk)
    step(model)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    with Casts(model) as casts:
        step(model)
    counts = {name: casts.found[name] for name in trained if casts.found[name]}
    assert len(counts) > 10 and set(counts.values()) == {1}
    assert not [name for name in set(casts.found) - trained if ".resblocks." in name]


@pytest.mark.parametrize("name", FORMS)
def test_predictions_cast_frozen_weights_once(name):
    model, images = model_of(name).eval(), torch.zeros(1, 3, 80, 100)
    with torch.autocast("cpu", torch.bfloat16):
        expected = model.predict(images)[0].seg_logits.data
    with Casts(model) as casts, torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model.predict(images)[0].seg_logits.data, expected, rtol=0, atol=0)
    assert not [name for name in casts.found if ".resblocks." in name]


@pytest.mark.parametrize("name", FORMS)
def test_weights_cast_before_lose_no_more_than_those_that_autocast_casts(name, monkeypatch):
    """They differ by the weights of norms, which autocast leaves in fp32 on a CPU."""
    model = model_of(name)
    exact, found = step(model, None), step(model)
    monkeypatch.setattr(rounded, "autocast_dtype", lambda device: None)
    autocast = step(model)
    torch.testing.assert_close(found[0], autocast[0], rtol=0, atol=2e-4)
    apart = errors(found, autocast)
    assert apart.median() < 0.008 and apart.max() < 0.06
    assert errors(found, exact).median() < 1.1 * errors(autocast, exact).median()


def test_a_frozen_weight_that_changes_is_cast_again():
    model = model_of("h-clip")
    before, exact = step(model)[0], step(model, None)[0]
    weight = model.backbone.image_tower.blocks[0].mlp.c_fc.weight
    with torch.no_grad():
        weight.mul_(3)
    after = step(model)[0]
    assert (after - before).abs() > 1e-4 and (step(model, None)[0] - exact).abs() > 1e-4
    torch.testing.assert_close(step(model, torch.float16)[0], after, rtol=2e-2, atol=0)


def test_a_module_that_fsdp_lends_its_weights_is_no_twin_of_an_earlier_pass():
    module = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4)).requires_grad_(False)
    del module[1].weight
    twin, device = rounded.RoundedTwin(), torch.device("cpu")
    with torch.autocast("cpu", torch.bfloat16):
        for factor in (1.0, 2.0):  # as FSDP does before each forward
            module[1].weight = torch.full((4,), factor, requires_grad=True) * 1
            assert twin.of(module, device) is module
        with torch.no_grad():
            module[1].weight = module[1].weight.detach()
            normed = twin.of(module, device)[1](torch.arange(4.0))
    torch.testing.assert_close(normed, 2 * nn.functional.layer_norm(torch.arange(4.0), (4,)))


@pytest.mark.parametrize("name", ["h-clip", "cat-seg"])
def test_chunks_lose_no_more_than_bfloat16_does(name):
    exact = step(model_of(name), None)
    together, chunked = (errors(step(model_of(name, chunk)), exact) for chunk in (None, 2))
    assert together.median() < 0.05
    assert chunked.median() < 1.5 * together.median() and chunked.max() < 2 * together.max()


def errors(found: list[Tensor], exact: list[Tensor]) -> Tensor:
    """How far each gradient is off, as a part of its size."""
    return torch.stack([
        (own - expected).norm() / expected.norm()
        for own, expected in zip(found, exact, strict=True)
        if expected.norm() > 1e-4
    ])
