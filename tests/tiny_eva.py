"""A small CLIP whose image tower is an EVA of timm."""

from __future__ import annotations

import torch
from timm.models import register_model
from timm.models.eva import Eva

from hclip_mmseg.clip import build_clip

GEOMETRY = dict(
    embed_dim=32,
    vision_cfg=dict(
        image_size=32, timm_model_name="eva_of_tests", timm_model_pretrained=False, timm_pool="token", timm_proj=None
    ),
    text_cfg=dict(context_length=77, vocab_size=49408, width=32, heads=2, layers=2),
    custom_text=True,
)  # EVA01-g-14-plus's entries, with a small trunk of the same class


@register_model
def eva_of_tests(pretrained: bool = False, **kwargs) -> Eva:
    changes = {name: value for name, value in kwargs.items() if name in ("num_classes", "global_pool", "init_values")}
    return Eva(img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=4, mlp_ratio=6144 / 1408, **changes)


@register_model
def eva_of_tests_scaled(pretrained: bool = False, **kwargs) -> Eva:
    return eva_of_tests(init_values=0.3, **kwargs)


def tiny_eva_clip(seed: int = 0, name: str = "eva_of_tests"):
    torch.manual_seed(seed)
    geometry = {**GEOMETRY, "vision_cfg": {**GEOMETRY["vision_cfg"], "timm_model_name": name}}
    clip = build_clip(geometry, timm_trunk=True)
    with torch.no_grad():
        for parameter in clip.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return clip
