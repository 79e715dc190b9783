"""Parameters renamed by rules."""

from __future__ import annotations

import pytest
import torch

from hclip_mmseg.conversion.kind import renamed
from hclip_mmseg.conversion.published import KINDS

RULES = [("a", "x"), ("a.layers.*.norms.*", "x.block*.n*"), ("a.layers", "y"), ("ab", "z")]


def test_the_longest_prefix_counts_and_numbers_are_kept():
    names = ["a.weight", "a.layers.12.norms.3.bias", "a.layers.12.norm", "ab", "abc.weight"]
    state = {name: torch.full((1,), float(place)) for place, name in enumerate(names)}
    found, unknown = renamed(state, RULES)
    assert list(found) == ["x.weight", "x.block12.n3.bias", "y.12.norm", "z"] and unknown == ["abc.weight"]
    back, unknown = renamed(found, [(theirs, ours) for ours, theirs in RULES])
    assert not unknown and {name: back[name] for name in names[:-1]} == {name: state[name] for name in names[:-1]}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_rules_can_be_followed_both_ways(kind):
    for number, side in enumerate(zip(*kind.rules, strict=True)):
        assert len(set(side)) == len(side), f"{kind.name}: two rules for one prefix, side {number}"
    assert all(ours.count("*") == theirs.count("*") for ours, theirs in kind.rules)
