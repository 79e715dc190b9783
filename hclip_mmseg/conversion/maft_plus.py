"""MAFT+, and FC-CLIP, which it builds on: masks classified by a ConvNeXt CLIP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hclip_mmseg.conversion.clip import clip_rules
from hclip_mmseg.conversion.kind import Kind, Rule

CLIP_MODEL = "backbone.clip_model."
PIXELS = "sem_seg_head.pixel_decoder."
PREDICTOR = "sem_seg_head.predictor."
TRANSFER = "cdt."
ATTENTION, LINEAR, NORM = "cdt.layers.0.attention", "cdt.layers.0.linear", "cdt.layers.0.norm"
USUAL = {
    ATTENTION: "cdt.cross_atten.multihead_attn",
    LINEAR: "cdt.cross_atten.MLP",
    NORM: "cdt.cross_atten.norm",
}
"""Names for transfers that were not read from a published checkpoint."""
PANOPTIC_WEIGHTS = 134  # of the loss of classes: COCO's 133 and void
_FEED_FORWARD = {"ffn.layers.0.0": "linear1", "ffn.layers.1": "linear2"}
_FC_CLIP = (rf"^{re.escape(CLIP_MODEL)}visual\.trunk\.", rf"^{re.escape(PIXELS)}")
# the tower before training, weights of losses, and what normalises images: nothing that a model computes with
_ASIDE = r"^(backbone_t|criterion)\.|^pixel_(mean|std)$|\.attn_mask$"


def pixel_decoder_rules() -> tuple[Rule, ...]:
    """The names of the pixel decoder's parameters."""
    parts = {
        "level_encoding.weight": "transformer.level_embed",
        "mask_feature": "mask_features",
        "lateral_convs.0.conv": "adapter_1",
        "lateral_convs.0.gn": "adapter_1.norm",
        "output_convs.0.conv": "layer_1",
        "output_convs.0.gn": "layer_1.norm",
    }
    for level in range(3):
        parts |= {f"input_convs.{level}.{part}": f"input_proj.{level}.{n}" for n, part in enumerate(("conv", "gn"))}
    layer = {"self_attn": "self_attn", "norms.0": "norm1", "norms.1": "norm2", **_FEED_FORWARD}
    parts |= {f"encoder.layers.*.{own}": f"transformer.encoder.layers.*.{theirs}" for own, theirs in layer.items()}
    return tuple((f"head.pixel_decoder.{own}", PIXELS + theirs) for own, theirs in parts.items())


def decoder_rules() -> tuple[Rule, ...]:
    """The names of the transformer decoder's parameters."""
    layer = {"norms.2": "ffn_layers.*.norm"}
    for number, (kind, attention) in enumerate((("cross", "multihead_attn"), ("self", "self_attn"))):
        layer[f"{kind}_attn.attn"] = f"{kind}_attention_layers.*.{attention}"
        layer[f"norms.{number}"] = f"{kind}_attention_layers.*.norm"
    layer |= {own: f"ffn_layers.*.{theirs}" for own, theirs in _FEED_FORWARD.items()}
    parts = {f"transformer_decoder.layers.*.{own}": f"transformer_{theirs}" for own, theirs in layer.items()}
    parts["transformer_decoder.post_norm"] = "decoder_norm"
    parts |= {name: name for name in ("query_feat", "query_embed", "level_embed", "logit_scale")}
    parts["mask_pooling_projection"] = "_mask_pooling_proj"
    for name in ("mask_embed", "class_embed"):
        parts |= {f"{name}.{2 * number}": f"{name}.layers.{number}" for number in range(3)}
    return tuple((f"head.{own}", PREDICTOR + theirs) for own, theirs in parts.items())


RULES: tuple[Rule, ...] = (
    ("void", "void_embedding.weight"),
    *clip_rules(CLIP_MODEL),
    *pixel_decoder_rules(),
    *decoder_rules(),
)


class MAFTPlusKind(Kind):
    """The names inside content-dependent transfer are told by what they hold."""

    def note(self, state: Mapping[str, Tensor], aside: Mapping[str, Tensor]) -> dict[str, Any]:
        """The names inside content-dependent transfer, and the vocabulary that was trained with."""
        transfer = {name: value for name, value in state.items() if name.startswith(TRANSFER)}
        note: dict[str, Any] = dict(transfer_prefixes=transfer_prefixes(transfer) if transfer else {})
        if len(aside.get("criterion.empty_weight", ())) == PANOPTIC_WEIGHTS:
            note["vocabulary"] = "coco_panoptic_133@maft-plus"
        return note

    def rules_with(self, note: Mapping[str, Any]) -> tuple[Rule, ...]:
        """The rules, with those of content-dependent transfer."""
        return (*self.rules, *(note.get("transfer_prefixes") or USUAL).items())


def transfer_prefixes(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Our prefix -> the published one of the parts of content-dependent transfer, told by what they hold.

    Raises:
        ValueError: if there is not one attention, one linear layer and one norm.
    """
    found: dict[str, set[str]] = {ATTENTION: set(), LINEAR: set(), NORM: set()}
    attentions = {name.removesuffix(".in_proj_weight") for name in state if name.endswith(".in_proj_weight")}
    found[ATTENTION] = attentions
    for name, value in state.items():
        prefix = name.rpartition(".")[0]
        if name.endswith(".weight") and not any(name.startswith(each + ".") for each in attentions):
            found[LINEAR if value.ndim == 2 else NORM].add(prefix)
    if any(len(each) != 1 for each in found.values()):
        raise ValueError(
            "content-dependent transfer of a published checkpoint is one attention, one linear layer and one norm; "
            f"this checkpoint has {', '.join(sorted(state))}"
        )
    return {ours: prefixes.pop() for ours, prefixes in found.items()}


_SETTINGS: dict[str, Any] = dict(
    rules=RULES,
    ours=r"^head\.pixel_decoder\.",
    aside=_ASIDE,
    advice={TRANSFER: "content-dependent transfer was published in the forms 'semantic' and 'panoptic' alone"},
)
MAFT_PLUS = MAFTPlusKind(
    name="maft+",
    published=(*_FC_CLIP, rf"^{re.escape(TRANSFER)}"),
    vocabulary="coco_stuff_171@maft-plus",
    **_SETTINGS,
)
FC_CLIP = MAFTPlusKind(name="fc-clip", published=_FC_CLIP, vocabulary="coco_panoptic_133@fc-clip", **_SETTINGS)
