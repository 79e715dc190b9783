"""Which CLIP a checkpoint of FC-CLIP or MAFT+ holds, told by its image tower."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

RESNETS = {6: "RN50", 23: "RN101", 10: "RN50x4", 18: "RN50x16", 36: "RN50x64"}
"""Blocks of the third layer -> open_clip's name of the ResNet (Radford et al., Table 19)."""
CONVNEXTS = {128: "convnext_base", 192: "convnext_large", 256: "convnext_xxlarge"}
"""Channels of the stem -> the ConvNeXt."""
_RESNET_BLOCK = re.compile(r"\.visual\.layer3\.(\d+)\.")


def tower_of(state: Mapping[str, Tensor]) -> str | None:
    """What the image tower is called, such as 'RN50x4' or 'convnext_large'; None if it is none of these.

    Args:
        state: a published state dict, CLIP's parameters under any prefix.
    """
    blocks = {int(match[1]) for name in state if (match := _RESNET_BLOCK.search(name))}
    if blocks:
        return RESNETS.get(max(blocks) + 1, "a ResNet")
    stem = next((value for name, value in state.items() if name.endswith(".visual.trunk.stem.0.weight")), None)
    return None if stem is None else CONVNEXTS.get(len(stem), "a ConvNeXt")
