"""Prompt templates."""

from __future__ import annotations

import pytest

from hclip_mmseg.clip import resolve_templates


def test_named_templates():
    assert resolve_templates("scene") == ("A photo of a {} in the scene",)
    assert len(resolve_templates("vild")) == 14
    assert len(resolve_templates("imagenet")) == 80
    assert all(t.count("{}") == 1 for name in ("vild", "imagenet") for t in resolve_templates(name))


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
    ],
)
def test_bad_templates(templates, message):
    with pytest.raises(ValueError, match=message):
        resolve_templates(templates)
