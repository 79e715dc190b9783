"""The vocabulary: its embeddings by their definition, its cache, its refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fake_gpu import cut_as_on_a_gpu
from tiny_models import randomise, tiny_backbone

from hclip_mmseg.clip import resolve_templates, tokenize
from hclip_mmseg.models import TextEncoderNeck
from hclip_mmseg.models.necks import text_batches
from hclip_mmseg.models.necks.text_batches import length_buckets

NAMES = ("cat", "red striped star, star", "grass")


class Encoder:
    """The backbone's ``encode_text``, with the number of texts of each call written down."""

    def __init__(self, backbone) -> None:
        self.backbone = backbone
        self.calls: list[int] = []

    def __call__(self, tokens: torch.Tensor, shared: int) -> torch.Tensor:
        self.calls.append(len(tokens))
        return self.backbone.encode_text(tokens, shared)


@pytest.fixture
def backbone():
    backbone = tiny_backbone()
    randomise(backbone.adapter)
    return backbone


@pytest.fixture
def encoder(backbone) -> Encoder:
    return Encoder(backbone)


def embed(neck: TextEncoderNeck, encoder: Encoder, subset: torch.Tensor | None = None) -> torch.Tensor:
    with torch.no_grad():
        return neck(encoder, encoder.backbone.text_parameters(), subset)


def by_definition(backbone, names, templates, average: bool) -> torch.Tensor:
    """[T, P, C], text by text."""
    rows = []
    for name in names:
        of_name = []
        for template in resolve_templates(templates):
            with torch.no_grad():
                of_name.append(F.normalize(backbone.encode_text(tokenize([name], (template,))[0])[0], dim=0))
        stacked = torch.stack(of_name)
        rows.append(F.normalize(stacked.mean(dim=0), dim=0)[None] if average else stacked)
    return torch.stack(rows)


@pytest.mark.parametrize("templates", ["scene", "vild"])
@pytest.mark.parametrize("average", [True, False])
def test_embeddings_are_those_of_the_definition(encoder, templates, average):
    neck = TextEncoderNeck(NAMES, templates, average=average)
    expected = by_definition(encoder.backbone, NAMES, templates, average)
    assert expected.shape[1] == (1 if average or templates == "scene" else 14)
    torch.testing.assert_close(embed(neck, encoder), expected, rtol=1e-4, atol=1e-5)


def test_embeddings_are_kept_until_something_changes(encoder):
    neck = TextEncoderNeck(NAMES)
    first = embed(neck, encoder)
    assert torch.equal(embed(neck, encoder), first)
    neck.set_vocabulary(NAMES)  # the same names: nothing to do
    assert torch.equal(embed(neck, encoder), first)
    assert torch.equal(embed(neck, encoder, torch.tensor([2, 0])), first[[2, 0]])
    assert len(encoder.calls) == 1

    neck.set_vocabulary(("dog",))
    assert embed(neck, encoder).shape == (1, 1, 32)
    assert len(encoder.calls) == 2
    neck.set_vocabulary(("dog",), "vild")
    embed(neck, encoder)
    assert sum(encoder.calls[2:]) == 14
    neck.set_vocabulary(NAMES, "scene")
    assert torch.equal(embed(neck, encoder), first)


@pytest.mark.parametrize("part", ["adapter.tensor", "adapter.relation", "text_tower.positional_embedding", "ln_final"])
def test_changed_weights_drop_the_cache(encoder, part):
    neck = TextEncoderNeck(NAMES)
    first = embed(neck, encoder)
    with torch.no_grad():
        for name, parameter in encoder.backbone.named_parameters():
            if part in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    second = embed(neck, encoder)
    assert (second - first).abs().max() > 1e-4
    torch.testing.assert_close(second, by_definition(encoder.backbone, NAMES, "scene", True), rtol=1e-4, atol=1e-5)


def test_a_change_of_the_image_tower_keeps_the_cache(encoder):
    neck = TextEncoderNeck(NAMES)
    embed(neck, encoder)
    with torch.no_grad():
        encoder.backbone.image_tower.positional_embedding.add_(1)
    embed(neck, encoder)
    assert len(encoder.calls) == 1


def test_training_encodes_anew_and_through_the_tower(encoder):
    neck = TextEncoderNeck(NAMES)
    embed(neck, encoder)
    parameters = encoder.backbone.text_parameters()
    neck(encoder, parameters)
    neck(encoder, parameters, torch.tensor([1])).sum().backward()
    assert encoder.calls == [3, 3, 1]
    assert encoder.backbone.adapter.tensor.grad.abs().sum() > 0


def test_a_subset_trains_as_its_rows_of_the_whole(encoder):
    neck = TextEncoderNeck(NAMES)
    parameters = encoder.backbone.text_parameters()
    part = torch.tensor([0, 2])
    torch.testing.assert_close(neck(encoder, parameters, part), neck(encoder, parameters)[part], rtol=1e-4, atol=1e-5)


def test_an_embedding_cached_in_inference_mode_can_be_used_in_training(encoder):
    neck = TextEncoderNeck(NAMES)
    with torch.inference_mode():
        neck(encoder, encoder.backbone.text_parameters())
    cached = embed(neck, encoder)
    weight = torch.ones(32, requires_grad=True)
    (cached * weight).sum().backward()
    assert weight.grad is not None
    assert len(encoder.calls) == 1


@pytest.mark.parametrize(
    "names, message",
    [
        ((), "no class names given"),
        (("cat", " "), "class name 1 of 2 is empty"),
        (("cat", "dog", "cat"), r"'cat' is given 2 times, at \[0, 2\]"),
        (("cat", "very " * 80 + "long"), r"class name 1 \('very.*77 places"),
        ("cat, cat", r"'cat' is given 2 times"),
    ],
)
def test_a_bad_vocabulary_changes_nothing(encoder, names, message):
    neck = TextEncoderNeck(NAMES)
    first = embed(neck, encoder)
    with pytest.raises(ValueError, match=message):
        neck.set_vocabulary(names, "vild")
    assert neck.vocabulary == NAMES and neck.templates == resolve_templates("scene")
    assert torch.equal(embed(neck, encoder), first)
    assert len(encoder.calls) == 1


def test_bad_templates_change_nothing():
    neck = TextEncoderNeck(NAMES)
    with pytest.raises(ValueError, match="must hold {} exactly once"):
        neck.set_vocabulary(("dog",), ("a photo",))
    assert neck.vocabulary == NAMES and neck.templates == resolve_templates("scene")


def test_no_vocabulary_is_said_so(encoder):
    neck = TextEncoderNeck()
    assert neck.vocabulary == ()
    with pytest.raises(ValueError, match="given no vocabulary: call model.set_vocabulary"):
        embed(neck, encoder)


@pytest.mark.parametrize("largest", [1, 7, 64, 1000])
def test_buckets_hold_every_text_once(largest):
    ends = np.random.default_rng(0).integers(3, 20, 333)
    order, sizes = length_buckets(ends, largest)
    assert sorted(order.tolist()) == list(range(333))
    assert sum(sizes) == 333 and all(0 < size <= largest for size in sizes)
    lengths = np.split(ends[order], np.cumsum(sizes)[:-1])
    assert all(one.max() <= two.min() for one, two in zip(lengths, lengths[1:], strict=False))


def test_texts_encoded_in_parts_are_those_encoded_together(encoder):
    names = [" ".join(["very"] * (number % 9)) + f" thing {number}" for number in range(90)]
    neck = TextEncoderNeck(names, chunk=20)
    found = embed(neck, encoder)
    assert len(encoder.calls) > 90 // 20 and max(encoder.calls) <= 20
    with torch.no_grad():
        together = encoder.backbone.encode_text(tokenize(names, resolve_templates("scene"))[:, 0])
    torch.testing.assert_close(found[:, 0], F.normalize(together, dim=-1), rtol=1e-4, atol=1e-5)


def test_ten_thousand_names_go_through_in_chunks(encoder):
    neck = TextEncoderNeck([f"thing {number}" for number in range(10_000)], chunk=256)
    found = embed(neck, encoder)
    assert found.shape == (10_000, 1, 32)
    assert sum(encoder.calls) == 10_000 and max(encoder.calls) <= 256
    some = [0, 4321, 9999]
    expected = by_definition(encoder.backbone, [f"thing {number}" for number in some], "scene", True)
    torch.testing.assert_close(found[some], expected, rtol=1e-4, atol=1e-5)


def test_ten_thousand_names_are_cut_once_for_the_device_that_encodes_them(backbone, monkeypatch):
    cut = []
    find = text_batches.length_buckets

    def counted(ends, largest, smallest):
        cut.append(smallest)
        return find(ends, largest, smallest)

    def encode(tokens: torch.Tensor, shared: int) -> torch.Tensor:
        assert (tokens[:, :shared] == tokens[0, :shared]).all()
        return torch.stack([tokens.sum(dim=1), tokens.square().sum(dim=1).sqrt()], dim=1)

    monkeypatch.setattr(text_batches, "length_buckets", counted)
    neck = TextEncoderNeck([f"thing {number}" for number in range(10_000)], cache=False)
    neck.read_with(backbone.tokenizer)
    assert not cut, "before a device is known"
    parameters = backbone.text_parameters()
    first, second = neck(encode, parameters), neck(encode, parameters)
    assert first.equal(second) and cut == [text_batches.SMALLEST]
    with cut_as_on_a_gpu():
        torch.testing.assert_close(neck(encode, parameters), first)
    assert cut == [text_batches.SMALLEST, text_batches.SMALLEST_ON_GPU]
    neck.set_vocabulary(["cat"])
    assert neck(encode, parameters).shape == (1, 1, 2) and len(cut) == 3
