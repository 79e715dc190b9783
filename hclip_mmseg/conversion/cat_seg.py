"""CAT-Seg: CLIP with tuned q and v, and cost aggregation (the head that H-CLIP has too)."""

from __future__ import annotations

import re

from hclip_mmseg.conversion.clip import ADAPTER, FOLD_FIRST, clip_rules, join_projections
from hclip_mmseg.conversion.kind import Kind, Rule, State

PREDICTOR = "sem_seg_head.predictor."
CLIP_MODEL = PREDICTOR + "clip_model."
WITHOUT_WEIGHTS = r"(attn_mask|\.(cross_attention_dim|hidden_size))$|^(clip_)?pixel_(mean|std)$"
TUNED = ADAPTER + "weights"
"""The parameters of ``TrainedProjections``."""

_PARTS = {
    "embed_cost": "conv1",
    "appearance_projection": "guidance_projection",
    "text_projection": "text_guidance_projection",
    "decoder.guidance_projections": "decoder_guidance_projection",
    "decoder.score": "head",
    "layers.*.spatial.guidance_norm": "layers.*.swin_block.guidance_norm",
}
UPSAMPLE = {
    "up": "up",
    "conv1": "conv.double_conv.0",
    "norm1": "conv.double_conv.1",
    "conv2": "conv.double_conv.3",
    "norm2": "conv.double_conv.4",
}
_SWIN = {"norm1": "norm1", "norm2": "norm2", "attention": "attn", "mlp.0": "mlp.fc1", "mlp.2": "mlp.fc2"}
CLASS_ATTENTION = {
    "attention": "attention",
    "mlp.0": "MLP.0",
    "mlp.2": "MLP.2",
    "norm1": "norm1",
    "norm2": "norm2",
    "padding_token": "padding_tokens",
    "padding_guidance": "padding_guidance",
}


def aggregator_rules() -> tuple[Rule, ...]:
    """The names of cost aggregation's parameters."""
    parts = dict(_PARTS)
    for number in range(2):
        parts |= {f"decoder.steps.{number}.{own}": f"decoder{number + 1}.{theirs}" for own, theirs in UPSAMPLE.items()}
        block, published = f"layers.*.spatial.blocks.{number}.", f"layers.*.swin_block.block_{number + 1}."
        parts |= {block + own: published + theirs for own, theirs in _SWIN.items()}
    parts |= {f"layers.*.classes.{own}": f"layers.*.attention.{theirs}" for own, theirs in CLASS_ATTENTION.items()}
    return tuple((f"decode_head.aggregator.{own}", f"{PREDICTOR}transformer.{theirs}") for own, theirs in parts.items())


SEGMENTOR_RULES: tuple[Rule, ...] = (
    *clip_rules(CLIP_MODEL),
    ("backbone.guidance_upsamples.0", "upsample1"),
    ("backbone.guidance_upsamples.1", "upsample2"),
    *aggregator_rules(),
)
"""The names of all parameters but the adapters'."""


class CATSeg(Kind):
    """CAT-Seg's q, k and v stand apart; here q and v, which were tuned, are the adapter's, and all are in CLIP too."""

    def gather(self, state: State) -> State:
        """``in_proj_weight`` of every block, and q and v once more, as the adapter's parameters."""
        gathered = join_projections(state)
        for name in [name for name in gathered if name.endswith(".attn.in_proj_weight")]:
            q, _, v = gathered[name].chunk(3)
            block = name.removesuffix(".in_proj_weight")
            gathered |= {f"{block}.q_proj_weight": q.clone(), f"{block}.v_proj_weight": v.clone()}
        return gathered

    def spread(self, state: State) -> State:
        """q, k and v of every block, each as it was tuned, else as it is in CLIP."""
        spread = dict(state)
        for name in [name for name in state if name.endswith(".attn.in_proj_weight")]:
            block = name.removesuffix(".in_proj_weight")
            for projection, weight in zip("qkv", spread.pop(name).chunk(3), strict=True):
                spread[f"{block}.{projection}_proj_weight"] = state.get(
                    f"{block}.{projection}_proj_weight", weight
                ).clone()
        return spread


CAT_SEG = CATSeg(
    name="cat-seg",
    rules=(
        *SEGMENTOR_RULES,
        *(
            (f"{TUNED}.{tower}.*.{projection}", f"{CLIP_MODEL}{blocks}.*.attn.{projection}_proj_weight")
            for tower, blocks in (("image", "visual.transformer.resblocks"), ("text", "transformer.resblocks"))
            for projection in "qkv"
        ),
    ),
    published=(rf"^{re.escape(PREDICTOR)}",),
    ours=r"^decode_head\.",  # of models without H-CLIP's adapters
    aside=WITHOUT_WEIGHTS,
    advice={ADAPTER: FOLD_FIRST},
)
