"""The arithmetic of inference: oneDNN's product gives the usual numbers and is used after a trial alone; bfloat16."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from tiny_models import tiny_segmentor
from torch.utils._python_dispatch import TorchDispatchMode

from hclip_mmseg.apis import mixed_precision
from hclip_mmseg.models import onednn
from hclip_mmseg.models.arithmetic import computes_bf16

CPU = torch.device("cpu")
HAS_ONEDNN = torch.backends.mkldnn.is_available()


@pytest.fixture
def chosen(monkeypatch):
    """oneDNN's product taken for all sizes, without a trial; a list that gets the shape of each."""
    shapes, product = [], onednn.product

    def counted(x, weight, bias):
        shapes.append((x.shape, weight.shape))
        return product(x, weight, bias)

    monkeypatch.setattr(onednn, "SMALLEST", 0)
    monkeypatch.setattr(onednn, "product", counted)
    monkeypatch.setattr(onednn, "is_faster", lambda threads: True)
    return shapes


def scores(model) -> torch.Tensor:
    sample = SegDataSample(metainfo=dict(ori_shape=(70, 90), img_shape=(70, 90)))
    image = torch.randint(0, 256, (3, 70, 90), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.no_grad():
        (result,) = model.test_step(dict(inputs=[image], data_samples=[sample]))
    return result.seg_logits.data


@pytest.mark.skipif(not HAS_ONEDNN, reason="this build of torch has no oneDNN")
def test_a_prediction_by_onednn_is_the_same(monkeypatch, chosen):
    model = tiny_segmentor(names=("cat", "grass", "sky"))
    found = scores(model)
    assert len(chosen) > 20, "towers and head, the MLPs among them"
    monkeypatch.setattr(onednn, "is_faster", lambda threads: False)
    model.text_encoder.forget()
    count = len(chosen)
    torch.testing.assert_close(found, scores(model), rtol=1e-5, atol=4e-6)
    assert len(chosen) == count


@pytest.mark.skipif(not HAS_ONEDNN, reason="this build of torch has no oneDNN")
@pytest.mark.parametrize("options", [{}, dict(alpha=1.5, beta=1.5), dict(alpha=0.5), dict(beta=2.0)])
def test_sums_of_a_bias_and_a_scaled_product(chosen, options):
    x, weight, bias = torch.randn(5, 8), torch.randn(6, 8), torch.randn(6)
    expected = torch.addmm(bias, x, weight.t(), **options)
    with torch.no_grad(), onednn.OneDNNProducts():
        torch.testing.assert_close(torch.addmm(bias, x, weight.t(), **options), expected)
    assert len(chosen) == 1


class Layouts(TorchDispatchMode):
    """Whether the two factors that each of oneDNN's products gets lie without gaps."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket is torch.ops.mkldnn._linear_pointwise:
            self.found.append(args[0].is_contiguous() and args[1].is_contiguous())
        return func(*args, **(kwargs or {}))


@pytest.mark.skipif(not HAS_ONEDNN, reason="this build of torch has no oneDNN")
def test_factors_reach_onednn_without_gaps(chosen):
    """It is a thousand times as slow for parts of a weight, as class attention takes."""
    x, weight = torch.randn(3, 5, 8).transpose(0, 1), torch.randn(6, 16)[:, :8]
    with torch.no_grad(), Layouts() as layouts, onednn.OneDNNProducts():
        torch.testing.assert_close(F.linear(x, weight), x @ weight.t())
    assert layouts.found == [True]


def test_gradients_other_types_and_autocast_stay_with_torch(chosen):
    x, weight = torch.randn(5, 8), torch.randn(6, 8)
    with onednn.OneDNNProducts():
        F.linear(x, weight.requires_grad_()).sum().backward()
        with torch.no_grad():
            F.linear(x.double(), weight.double())
            F.linear(x.bfloat16(), weight.bfloat16())
            with torch.autocast("cpu", torch.bfloat16):
                assert F.linear(x, weight).dtype == torch.bfloat16
    assert chosen == [] and weight.grad is not None


def missing(*arguments):
    raise AttributeError("no such operator")


def slow(x, weight, bias):
    return [F.linear(x, weight, bias) for _ in range(3)][0]


@pytest.mark.parametrize("product", [missing, slow, lambda x, weight, bias: torch.zeros(len(x), len(weight))])
def test_the_trial_refuses_what_is_missing_slow_or_wrong(monkeypatch, product):
    monkeypatch.setattr(onednn, "product", product)
    monkeypatch.setattr(onednn, "TRIAL", (64, 256, 256))
    assert not onednn.is_faster.__wrapped__(1)


def test_the_trial_is_of_single_precision_under_autocast_too(monkeypatch):
    monkeypatch.setattr(onednn, "TRIAL", (64, 256, 256))
    tried = []

    def product(x, weight, bias):
        tried.append(F.linear(x, weight, bias).dtype)
        return F.linear(x, weight, bias)

    monkeypatch.setattr(onednn, "product", product)
    with torch.autocast("cpu", torch.bfloat16):
        assert onednn.is_faster.__wrapped__(1) in (True, False)
    assert set(tried) == {torch.float32}


def test_the_trial_takes_what_is_right_and_faster(monkeypatch):
    times = {F.linear: 1.0, onednn.product: 0.5}
    monkeypatch.setattr(onednn, "_timed", lambda way, *given: (F.linear(*given), times[way]))
    assert onednn.is_faster.__wrapped__(1)
    times[onednn.product] = 0.95
    assert not onednn.is_faster.__wrapped__(1)


def test_a_prediction_in_bfloat16(monkeypatch):
    model = tiny_segmentor(names=("cat", "grass", "sky"))
    expected = scores(model)
    model.bf16 = True
    model.text_encoder.forget()
    found = scores(model)
    assert found.dtype == torch.float32 and not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16\n", True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("", False),
    ],
)
def test_a_cpu_says_whether_it_computes_bfloat16(tmp_path, text, expected):
    (tmp_path / "cpuinfo").write_text(text)
    assert computes_bf16(CPU, tmp_path / "cpuinfo") is expected
    assert computes_bf16(CPU, tmp_path / "none") is False


@pytest.mark.parametrize("has", [True, False])
def test_amp_is_taken_where_the_device_has_it_and_said_elsewhere(monkeypatch, capsys, has):
    monkeypatch.setattr(mixed_precision, "computes_bf16", lambda device: has)
    model = tiny_segmentor()
    mixed_precision.predict_in_bf16(model)
    assert model.bf16 is has
    assert ("--amp changes nothing: the cpu here" in capsys.readouterr().out) is not has
    with pytest.raises(ValueError, match="--amp is for this project's models: an Identity"):
        mixed_precision.predict_in_bf16(torch.nn.Identity())
