"""Prompt templates."""

from __future__ import annotations

import hashlib

import pytest
import torch

from hclip_mmseg.clip import resolve_templates, tokenize
from hclip_mmseg.clip.templates import prompt


def test_named_templates():
    assert resolve_templates("scene") == ("A photo of a {} in the scene",)
    assert len(resolve_templates("vild")) == 14
    assert len(resolve_templates("imagenet")) == 80
    assert len(set(resolve_templates("vild-63"))) == 63
    assert all(t.count("{}") == 1 for name in ("vild", "vild-63", "imagenet") for t in resolve_templates(name))


def test_the_63_prompts_are_those_that_clims_embeddings_are_made_with():
    prompts = [prompt(template, name) for name in ("airplane", "hot dog") for template in resolve_templates("vild-63")]
    digest = hashlib.sha256("\n".join(sorted(prompts)).encode()).hexdigest()
    assert digest == "578fbe4692fa11356cb0b8818c3b6b42209754873025e5f750c82c77a5e21e2a"
    for text in ("This is a photo of an airplane.", "There is a hot dog in the scene.", "itap of my airplane."):
        assert text in prompts


def test_the_article_follows_the_name_down_to_the_tokens():
    template = "{article} {}"
    assert [prompt(template, name) for name in ("apple", "unicorn", "cat", "Ape", "")] == [
        "an apple", "an unicorn", "a cat", "a Ape", "a "
    ]  # fmt: skip
    written, plain = tokenize(["apple, fruit", "cat"], [template]), tokenize(["an apple", "a cat"], ["{}"])
    assert torch.equal(written, plain)


def test_own_templates():
    assert resolve_templates("a {} here") == ("a {} here",)
    assert resolve_templates(["a {}", "the {}"]) == ("a {}", "the {}")


@pytest.mark.parametrize(
    "templates, message",
    [
        ("sceen", "unknown templates 'sceen'"),
        ([], "no prompt template"),
        (["a photo"], "must hold {} exactly once"),
        (["{} or {}"], "must hold {} exactly once"),
        (["{article} cat"], "must hold {} exactly once"),
        (["{colour} {}"], "braces other than {} and {article}"),
    ],
)
def test_bad_templates(templates, message):
    with pytest.raises(ValueError, match=message):
        resolve_templates(templates)
