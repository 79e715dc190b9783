"""CLIP's own weights, as open_clip and OpenAI publish them."""

from __future__ import annotations

import re

import torch

from hclip_mmseg.conversion.kind import Kind, Rule, State

FOLD_FIRST = "tools/fold_adapters.py makes adapters that change CLIP's weights a part of them, which can be converted"
ADAPTER = "backbone.adapter."
_SPLIT = re.compile(r"(.*\.attn)\.(q|k|v)_proj_weight$")


def clip_rules(prefix: str = "") -> tuple[Rule, ...]:
    """The names of CLIP's parameters.

    Args:
        prefix: that the published checkpoint puts before them.
    """
    text = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")
    return (
        ("backbone.image_tower", f"{prefix}visual"),
        ("backbone.logit_scale", f"{prefix}logit_scale"),
        *((f"backbone.text_tower.{part}", f"{prefix}{part}") for part in text),
    )


def join_projections(state: State) -> State:
    """Separate q, k and v weights put together as open_clip's ``in_proj_weight``."""
    joined = dict(state)
    for name in state:
        match = _SPLIT.match(name)
        if match and match[2] == "q":
            parts = [joined.pop(f"{match[1]}.{projection}_proj_weight") for projection in "qkv"]
            joined[f"{match[1]}.in_proj_weight"] = torch.cat(parts)
    return joined


CLIP = Kind(
    name="clip",
    rules=clip_rules(),
    published=(r"^visual\.(conv1\.weight|proj)$",),
    ours=None,
    aside=r"attn_mask$|^(input_resolution|context_length|vocab_size)$",
    keeps_aside=False,
    bare=True,
    vocabulary=None,
    advice={ADAPTER: FOLD_FIRST},
)
