"""The cost aggregator against its equations written out directly."""

from __future__ import annotations

import literal
import pytest
import torch
import torch.nn.functional as F

from hclip_mmseg.models.cost_aggregation import CostAggregator
from hclip_mmseg.models.cost_aggregation.class_attention import positive
from hclip_mmseg.models.cost_aggregation.windows import window_layout

SMALL = dict(
    text_channels=12,
    dim=16,
    heads=2,
    window=4,
    appearance_dim=8,
    text_guidance_dim=6,
    class_length=9,
    decoder_channels=(16, 16),
    guidance_channels=(10, 6),
    guidance_projections=(4, 2),
)


def build(seed: int = 0, **changes) -> CostAggregator:
    torch.manual_seed(seed)
    module = CostAggregator(**{**SMALL, **changes})
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def inputs(classes: int, templates: int = 1, batch: int = 2, grid=(8, 8)):
    torch.manual_seed(1)
    height, width = grid
    dense = torch.randn(batch, 12, height, width)
    guidance = (torch.randn(batch, 10, 2 * height, 2 * width), torch.randn(batch, 6, 4 * height, 4 * width))
    return dense, guidance, torch.randn(classes, templates, 12)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("classes", [1, 5, 9])
@pytest.mark.parametrize("grid", [(8, 8), (4, 8)])
def test_same_scores_as_the_equations(training, classes, grid):
    module = build().train(training)
    dense, guidance, text = inputs(classes, grid=grid)
    with torch.no_grad():
        expected = literal.aggregate(module, dense, guidance, text)
    torch.testing.assert_close(module(dense, guidance, text), expected, rtol=1e-4, atol=1e-4)


def test_same_gradients_as_the_equations():
    module = build().train()
    dense, guidance, text = inputs(5)
    gradients = []
    for forward in (module, lambda *arguments: literal.aggregate(module, *arguments)):
        module.zero_grad()
        leaves = [tensor.clone().requires_grad_() for tensor in (dense, *guidance, text)]
        forward(leaves[0], tuple(leaves[1:3]), leaves[3]).square().mean().backward()
        gradients.append([leaf.grad for leaf in leaves] + [p.grad.clone() for p in module.parameters()])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("classes", [1, 9, 40])
def test_every_parameter_has_a_gradient_however_many_classes(classes):
    """Several processes wait for each; of 9 classes on none is padded."""
    module = build().train()
    dense, guidance, text = inputs(classes)
    module(dense, guidance, text).square().mean().backward()
    assert not [name for name, parameter in module.named_parameters() if parameter.grad is None]


def test_several_templates_stand_apart():
    module = build(templates=3).eval()
    dense, guidance, text = inputs(4, templates=3)
    with torch.no_grad():
        expected = literal.aggregate(module, dense, guidance, text)
        torch.testing.assert_close(module(dense, guidance, text), expected, rtol=1e-4, atol=1e-4)


def test_without_any_guidance():
    module = build(appearance_dim=0, text_guidance_dim=0, guidance_channels=(), guidance_projections=()).eval()
    dense, _, text = inputs(4)
    with torch.no_grad():
        expected = literal.aggregate(module, dense, (), text)
        torch.testing.assert_close(module(dense, (), text), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_of_too_many_classes_the_most_similar_are_scored(training):
    module = build().train(training)
    dense, guidance, text = inputs(14)
    with torch.no_grad():
        expected = literal.aggregate(module, dense, guidance, text)
        found = module(dense, guidance, text)
        logits, kept = module.most_similar(dense, guidance, text)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert ((found == -100).flatten(2).all(dim=-1).sum(dim=1) == 14 - 9).all()
    assert kept.shape == (2, 9)
    torch.testing.assert_close(found[1, kept[1]], logits[1])


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_chunks_change_nothing(chunk):
    dense, guidance, text = inputs(7)
    whole, parts = build(inference_chunk=1000), build(inference_chunk=chunk, training_chunk=chunk)
    with torch.no_grad():
        torch.testing.assert_close(
            parts.eval()(dense, guidance, text), whole.eval()(dense, guidance, text), rtol=1e-5, atol=1e-5
        )
    gradients = []
    for module in (whole.train(), parts.train()):
        module(dense, guidance, text).square().mean().backward()
        gradients.append([parameter.grad for parameter in module.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_order_of_names_does_not_matter():
    module = build().eval()
    dense, guidance, text = inputs(6)
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    with torch.no_grad():
        torch.testing.assert_close(
            module(dense, guidance, text[order]), module(dense, guidance, text)[:, order], rtol=1e-4, atol=1e-5
        )


def test_window_that_does_not_divide_the_grid_is_refused():
    with pytest.raises(ValueError, match="a window of 4 does not divide the 6 x 8 grid"):
        window_layout(6, 8, 4, 0, torch.device("cpu"))


def test_inference_then_training_in_one_process():
    module = build()
    dense, guidance, text = inputs(3, grid=(12, 12))
    with torch.inference_mode():
        module.eval()(dense, guidance, text)
    module.train()(dense, guidance, text).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_the_attentions_kernel_is_elu_plus_one_with_gradient_and_without():
    x = torch.cat([torch.linspace(-120, 120, 4001), torch.tensor([0.0, -0.0, -1e-8, 1e-8])])
    expected = F.elu(x) + 1
    torch.testing.assert_close(positive(x.clone(), False), expected, rtol=4e-6, atol=1.2e-7)
    torch.testing.assert_close(positive(x.clone().requires_grad_().mul(1), False), expected)
    torch.testing.assert_close(positive(x.clone(), True), expected, rtol=0, atol=0)


def test_fewer_classes_in_inference_are_scored_as_if_only_they_were_asked_for():
    module = build(inference_classes=4).eval()
    dense, guidance, text = inputs(8, batch=1)
    with torch.no_grad():
        logits, kept = module.most_similar(dense, guidance, text)
        cosines = torch.einsum("chw,tpc->tphw", F.normalize(dense[0], dim=0), F.normalize(text, dim=-1))
        assert kept.tolist() == [sorted(cosines.amax(dim=(1, 2, 3)).topk(4).indices.tolist())]
        torch.testing.assert_close(logits, build().eval()(dense, guidance, text[kept[0]]))
        everything = module(dense, guidance, text)
        assert everything.shape[1] == 8 and (everything == -100).flatten(2).all(-1).sum() == 4
        assert module.train().most_similar(dense, guidance, text)[1] is None, "training scores all, as published"


@pytest.mark.parametrize("number", [0, 10])
def test_a_number_of_classes_that_cannot_be_kept_is_refused(number):
    with pytest.raises(ValueError, match=f"inference_classes is from 1 to class_length, 9, not {number}"):
        build(inference_classes=number)
