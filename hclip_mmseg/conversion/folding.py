"""Adapters folded into the weights for good: a plain CLIP, and the head that was trained with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hclip_mmseg.conversion.clip import ADAPTER, CLIP
from hclip_mmseg.models.backbones import HCLIPBackbone


@torch.no_grad()
def folded_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """State dict of the same model without adapters, which computes the same.

    Args:
        model: has a ``backbone`` that is an :class:`HCLIPBackbone`.

    Returns:
        What the model of the same config with ``adapter=None`` loads without a missing or unexpected key.

    Raises:
        ValueError: if the backbone has no adapters, or such as cannot be folded.
    """
    backbone = model.backbone
    if not isinstance(backbone, HCLIPBackbone) or backbone.adapter is None:
        raise ValueError("the model's backbone has no adapters to fold")
    state = {name: value for name, value in model.state_dict().items() if not name.startswith(ADAPTER)}
    for tower in ("image", "text"):
        for name, parameter in backbone.folded_parameters(tower).items():
            state[f"backbone.{tower}_tower.{name}"] = parameter.clone()
    return state


def clip_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The CLIP inside a state dict without adapters, under open_clip's names."""
    towers = ("backbone.image_tower.", "backbone.text_tower.", "backbone.logit_scale")
    return CLIP.to_published({name: value for name, value in state.items() if name.startswith(towers)}, {})
