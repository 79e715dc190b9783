"""Checkpoints of MAFT+ and of FC-CLIP, which it builds on, as they are published, to this project's and back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from hclip_mmseg.conversion.names import rename

CLIP = "backbone.clip_model."
TRUNK = CLIP + "visual.trunk."
PIXELS = "sem_seg_head.pixel_decoder."
PREDICTOR = "sem_seg_head.predictor."
TRANSFER = "cdt."
ENCODER_LAYER = r"encoder\.layers\.(\d+)\."
DECODER_LAYER = r"(?:transformer_ffn_layers|transformer_decoder\.layers)\.(\d+)\."
ATTENTION, LINEAR, NORM = "cdt.layers.0.attention", "cdt.layers.0.linear", "cdt.layers.0.norm"
USUAL = {
    ATTENTION: "cdt.cross_atten.multihead_attn",
    LINEAR: "cdt.cross_atten.linear",
    NORM: "cdt.cross_atten.norm",
}
"""Names for transfers that were not read from a published checkpoint."""
# the tower before training, weights of losses, and what normalises pictures: nothing that a model computes with
_EXTRAS = re.compile(r"^(backbone_t|criterion)\.|^pixel_(mean|std)$|\.attn_mask$")
PANOPTIC_WEIGHTS = 134  # of the loss of classes: COCO's 133 and void


def is_maft_plus(state: Mapping[str, Any]) -> bool:
    """Whether the names are those of MAFT+ or FC-CLIP with a ConvNeXt."""
    return any(name.startswith(TRUNK) for name in state) and any(name.startswith(PIXELS) for name in state)


def name_pairs(encoder_layers: int, decoder_layers: int) -> Iterator[tuple[str, str]]:
    """(our prefix, published prefix) of everything but content-dependent transfer.

    Args:
        encoder_layers: of the pixel decoder.
        decoder_layers: of the transformer decoder.
    """
    yield "void", "void_embedding.weight"
    yield "backbone.image_tower", CLIP + "visual"
    yield "backbone.logit_scale", CLIP + "logit_scale"
    for part in ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection"):
        yield f"backbone.text_tower.{part}", CLIP + part
    ours = "head.pixel_decoder."
    for level in range(3):
        yield f"{ours}input_convs.{level}.conv", f"{PIXELS}input_proj.{level}.0"
        yield f"{ours}input_convs.{level}.gn", f"{PIXELS}input_proj.{level}.1"
    yield f"{ours}level_encoding.weight", f"{PIXELS}transformer.level_embed"
    yield f"{ours}mask_feature", f"{PIXELS}mask_features"
    yield f"{ours}lateral_convs.0.conv", f"{PIXELS}adapter_1"
    yield f"{ours}lateral_convs.0.gn", f"{PIXELS}adapter_1.norm"
    yield f"{ours}output_convs.0.conv", f"{PIXELS}layer_1"
    yield f"{ours}output_convs.0.gn", f"{PIXELS}layer_1.norm"
    for layer in range(encoder_layers):
        own, published = f"{ours}encoder.layers.{layer}.", f"{PIXELS}transformer.encoder.layers.{layer}."
        yield own + "self_attn", published + "self_attn"
        yield from ((f"{own}norms.{number}", f"{published}norm{number + 1}") for number in range(2))
        yield from ((own + place, published + name) for place, name in _FEED_FORWARD)
    for layer in range(decoder_layers):
        own = f"head.transformer_decoder.layers.{layer}."
        for number, (kind, attention) in enumerate((("cross", "multihead_attn"), ("self", "self_attn"))):
            published = f"{PREDICTOR}transformer_{kind}_attention_layers.{layer}."
            yield f"{own}{kind}_attn.attn", published + attention
            yield f"{own}norms.{number}", published + "norm"
        published = f"{PREDICTOR}transformer_ffn_layers.{layer}."
        yield from ((own + place, published + name) for place, name in _FEED_FORWARD)
        yield f"{own}norms.2", published + "norm"
    yield "head.transformer_decoder.post_norm", PREDICTOR + "decoder_norm"
    for name in ("query_feat", "query_embed", "level_embed", "logit_scale"):
        yield "head." + name, PREDICTOR + name
    yield "head.mask_pooling_projection", PREDICTOR + "_mask_pooling_proj"
    for name in ("mask_embed", "class_embed"):
        yield from ((f"head.{name}.{2 * number}", f"{PREDICTOR}{name}.layers.{number}") for number in range(3))


_FEED_FORWARD = (("ffn.layers.0.0", "linear1"), ("ffn.layers.1", "linear2"))


def _layers(names: Mapping[str, Any], pattern: str) -> int:
    found = {int(match[1]) for name in names if (match := re.search(pattern, name))}
    return max(found, default=-1) + 1


def _transfer_prefixes(state: Mapping[str, Tensor]) -> dict[str, str]:
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


def to_ours(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """A published state dict as this project's.

    Args:
        state: of MAFT+ or FC-CLIP with a ConvNeXt.

    Returns:
        ``state_dict`` with our names, and ``meta`` with 'published': ``kind``, the entries that the model does not
        compute with, all names in order, the names inside content-dependent transfer, and the vocabulary that was
        trained with.

    Raises:
        ValueError: on parameters of unknown name.
    """
    extras = {name: value for name, value in state.items() if _EXTRAS.search(name)}
    transfer = {name: value for name, value in state.items() if name.startswith(TRANSFER)}
    prefixes = _transfer_prefixes(transfer) if transfer else {}
    kind = "maft+" if transfer else "fc-clip"
    layers = _layers(state, ENCODER_LAYER), _layers(state, DECODER_LAYER)
    pairs = [(theirs, own) for own, theirs in (*name_pairs(*layers), *prefixes.items())]
    ours, unknown = _renamed({name: value.float() for name, value in state.items() if name not in extras}, pairs)
    if unknown:
        raise ValueError(
            f"{len(unknown)} parameters of the {kind} checkpoint have names that no published checkpoint has: "
            + ", ".join(unknown[:5])
        )
    weights = extras.get("criterion.empty_weight", torch.empty(0))
    vocabulary = "coco_panoptic_133" if kind == "fc-clip" or len(weights) == PANOPTIC_WEIGHTS else "coco_stuff_171"
    published = dict(kind=kind, extras=extras, names=list(state), transfer_prefixes=prefixes, vocabulary=vocabulary)
    return {"meta": dict(published=published), "state_dict": ours}


def to_published(ours: Mapping[str, Tensor], published: Mapping[str, Any]) -> dict[str, Any]:
    """This project's state dict under the names of the published code.

    Args:
        ours: of a ``MAFTPlus`` whose transfer, if it has one, has the published form.
        published: what :func:`to_ours` noted, or an empty mapping.

    Returns:
        ``{"model": state}``.

    Raises:
        ValueError: on parameters that the published models do not have.
    """
    prefixes = published.get("transfer_prefixes") or USUAL
    layers = _layers(ours, ENCODER_LAYER), _layers(ours, DECODER_LAYER)
    state, unknown = _renamed(ours, [*name_pairs(*layers), *prefixes.items()])
    if unknown:
        raise ValueError(
            f"{unknown[0]} has no counterpart in the published models; content-dependent transfer was published in "
            "the forms 'semantic' and 'panoptic' alone"
        )
    state.update(published.get("extras", {}))
    order = {name: place for place, name in enumerate(published.get("names", ()))}
    return {"model": dict(sorted(state.items(), key=lambda item: order.get(item[0], len(order))))}


def _renamed(state: Mapping[str, Tensor], pairs: list[tuple[str, str]]) -> tuple[dict[str, Tensor], list[str]]:
    """The state under other names, and the names for which ``pairs`` (from, to) have none."""
    pairs = sorted(pairs, key=lambda pair: len(pair[0]), reverse=True)
    found, unknown = {}, []
    for name, value in state.items():
        renamed = rename(name, pairs)
        if renamed is None:
            unknown.append(name)
        else:
            found[renamed] = value
    return found, unknown
