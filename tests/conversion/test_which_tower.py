"""FC-CLIP's files are told apart by their image tower."""

import pytest
import torch
from open_clip import factory

from hclip_mmseg.conversion import to_ours
from hclip_mmseg.conversion.towers import tower_of

PREFIX = "backbone.clip_model."


@pytest.mark.parametrize("name", ["RN50", "RN101", "RN50x4", "RN50x16", "RN50x64"])
def test_resnets_are_those_of_open_clip_and_refused_by_name(name):
    blocks = factory.get_model_config(name)["vision_cfg"]["layers"]
    state = {
        f"{PREFIX}visual.layer{layer + 1}.{block}.conv1.weight": torch.zeros(1)
        for layer, count in enumerate(blocks)
        for block in range(count)
    }
    assert tower_of(state) == name
    with pytest.raises(ValueError, match=f"FC-CLIP on CLIP's {name};"):
        to_ours(state)


def test_convnexts_are_told_by_their_stem():
    for channels, name in ((128, "convnext_base"), (192, "convnext_large")):
        assert tower_of({f"{PREFIX}visual.trunk.stem.0.weight": torch.zeros(channels, 3, 4, 4)}) == name
    assert tower_of({"other.weight": torch.zeros(1)}) is None
