"""Texts that begin alike: embeddings and gradients are those of texts that are computed one by one."""

from __future__ import annotations

import pytest
import torch
from tiny_models import pop_config, randomise, tiny_backbone

from hclip_mmseg.clip import ClipTokenizer, cut_behind_longest, tokenize
from hclip_mmseg.models.necks.text_batches import Prompts, TextBatches, shared_start

NAMES = ("cat", "traffic light", "catamaran of wood")
TOKENS = cut_behind_longest(tokenize(NAMES, ("a photo of a {} in the scene",))[:, 0])
ADAPTERS = {
    "none": None,
    "POP": pop_config(),
    "SSF": dict(type="SSF"),
    "HoulsbyAdapter": dict(type="HoulsbyAdapter"),
    "VPT": dict(type="VPT", length=3),
    "LST": dict(type="LST", image_side=16, text_side=8, head_width=4),
}


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_shared_start_changes_neither_embeddings_nor_gradients(kind, checkpointed):
    backbone = tiny_backbone(adapter=ADAPTERS[kind], checkpoint_text=checkpointed, train_positions=kind == "none")
    if backbone.adapter is not None:
        randomise(backbone.adapter)
    backbone = backbone.double()
    trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    found = []
    for shared in (0, 1, 5):
        backbone.zero_grad()
        together = backbone.encode_text(TOKENS, shared)
        together.square().sum().backward()
        found.append([together, *(parameter.grad for parameter in trained if parameter.grad is not None)])
    backbone.zero_grad()
    alone = torch.cat([backbone.encode_text(text[None]) for text in TOKENS])
    alone.square().sum().backward()
    expected = [alone, *(parameter.grad for parameter in trained if parameter.grad is not None)]
    assert len(expected) > 1
    for values in found:
        torch.testing.assert_close(values, expected)


def start_of(tokens: torch.Tensor) -> int:
    return shared_start(tokens.numpy(), tokens.argmax(dim=-1).numpy())


def test_what_texts_begin_with_alike_ends_before_their_end_tokens():
    assert start_of(TOKENS) == 5  # the start, "a photo of a"
    assert start_of(TOKENS[:1]) == 0
    assert start_of(TOKENS[[0, 0]]) == int(TOKENS[0].argmax())
    assert start_of(tokenize(("cat", "cat food"), ("{}",))[:, 0]) == 2


def test_prompts_of_a_template_make_batches_that_begin_alike():
    templates = ("a photo of a {}.", "There is the {} in the scene")
    few, many = (
        TextBatches.of(
            Prompts.of(tokenize([f"thing {number}" for number in range(count)], templates), ClipTokenizer()), 256
        )
        for count in (3, 40)
    )
    assert few.shared == (1,)  # the start token
    assert sorted(set(many.shared)) == [5, 6]  # and "thing", which all names begin with
