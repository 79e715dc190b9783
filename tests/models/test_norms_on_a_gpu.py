"""Norms under a GPU's autocast compute in their input's dtype: no map is cast before them and back behind them."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from fake_gpu import autocast_of_a_gpu, fake_gpu
from tiny_models import HEAD, backbone_config, clip_geometry, tiny_segmentor
from tiny_sed import tiny_sed
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hclip_mmseg.adapters.precision import autocast_dtype
from hclip_mmseg.clip import RoundedTwin, with_rounded_weights
from hclip_mmseg.models import OpenVocabSegmentor

NAMES = tuple(f"thing {number}" for number in range(7))
MAP = 2_000
"""Numbers from which on a tensor is counted as a map, and not as a weight or a token."""


class NormsAndCasts(TorchDispatchMode):
    """Dtypes that norms take, and how often maps are cast from one dtype to another."""

    def __init__(self) -> None:
        super().__init__()
        self.norms: list[set[torch.dtype]] = []
        self.casts: Counter[tuple[torch.dtype, torch.dtype]] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in ("native_layer_norm", "native_group_norm"):
            self.norms.append({given.dtype for given in args if isinstance(given, Tensor)})
        elif name == "_to_copy" and args[0].numel() >= MAP and args[0].dtype != result.dtype:
            self.casts[args[0].dtype, result.dtype] += 1
        return result


def hclip(layers: int = 4) -> OpenVocabSegmentor:
    backbone = backbone_config(clip=dict(model=clip_geometry(layers, 2)))
    return tiny_segmentor(names=NAMES, backbone=backbone, decode_head={**HEAD, "layers": 2})


def pass_on_a_gpu(model: OpenVocabSegmentor) -> NormsAndCasts:
    """A prediction behind one that casts what is held."""
    with fake_gpu(model.eval()), autocast_of_a_gpu(), torch.no_grad():
        model.predict(torch.empty(1, 3, 64, 64, device="cuda"))
        with NormsAndCasts() as found:
            model.predict(torch.empty(1, 3, 64, 64, device="cuda"))
    return found


def test_norms_of_a_prediction_take_bfloat16_and_more_layers_cast_no_more_maps():
    few, many = pass_on_a_gpu(hclip(4)), pass_on_a_gpu(hclip(6))
    assert len(many.norms) > len(few.norms) > 20
    assert all(len(dtypes) == 1 for dtypes in many.norms)
    assert sum(dtypes == {torch.float32} for dtypes in many.norms) <= 2  # of the token that stands for missing classes
    assert many.casts == few.casts and many.casts[torch.bfloat16, torch.float32] <= 6  # the scores, of each view


def test_norms_of_sed_take_one_dtype():
    found = pass_on_a_gpu(tiny_sed())
    assert all(len(dtypes) == 1 for dtypes in found.norms) and {torch.bfloat16} in found.norms


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 32), nn.LayerNorm([32, 5, 5])])
def test_norms_in_fp32_are_left_as_they_are_and_those_in_bfloat16_are_a_cpus(norm):
    torch.manual_seed(0)
    nn.init.normal_(norm.weight, 1), nn.init.normal_(norm.bias)
    maps = torch.randn(2, 32, 5, 5)
    own = with_rounded_weights(nn.Sequential(norm), torch.bfloat16)
    assert torch.equal(own(maps), norm(maps))
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = own(maps.bfloat16()), norm(maps.bfloat16())
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=2**-6, atol=2**-6)
    gradients = [
        torch.autograd.grad(given.float().square().sum(), [norm.weight, norm.bias]) for given in (found, expected)
    ]
    for ours, other in zip(*gradients, strict=True):
        assert ours.dtype == torch.float32 and (ours - other).norm() <= 0.01 * other.norm()


def test_a_twin_is_held_without_gradients_until_a_weight_or_the_mode_changes():
    part, held = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), RoundedTwin()
    cpu = torch.device("cpu")
    assert held.of(part, cpu) is part and autocast_dtype(cpu) is None
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            first = held.of(part, cpu)
            assert held.of(part, cpu) is first and first[0].weight.dtype == torch.bfloat16
            part[0].weight.add_(1)
            second = held.of(part, cpu)
            assert second is not first and torch.equal(second[0].weight, part[0].weight.bfloat16())
            part.eval()
            assert not held.of(part, cpu).training
        trained = held.of(part.requires_grad_(True), cpu)
        trained(torch.ones(1, 4)).sum().backward()
        assert part[0].weight.grad is not None and trained is not held.of(part, cpu)


@pytest.mark.parametrize("build", [hclip, tiny_sed])
def test_weights_of_a_head_are_cast_once_for_all_chunks_and_not_again_in_the_next_prediction(build):
    model = build().eval()
    part = model.decode_head.aggregator if build is hclip else model.decode_head.decoder
    part.inference_chunk = 2
    places = {p.untyped_storage().data_ptr() for p in part.parameters()}

    class Casts(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.overloadpacket.__name__ == "_to_copy" and args[0].untyped_storage().data_ptr() in places:
                self.count += 1
            return func(*args, **(kwargs or {}))

    counts = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for _ in range(2):
            with Casts() as casts:
                model.predict(torch.zeros(1, 3, 64, 64))
            counts.append(casts.count)
    assert 30 < counts[0] <= len(places) and counts[1] == 0
