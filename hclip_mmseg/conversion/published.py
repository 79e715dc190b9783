"""Checkpoints of CAT-Seg, H-CLIP, MAFT+ and CLIP as they are published, to this project's and back."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from hclip_mmseg.conversion import maft_plus
from hclip_mmseg.conversion.names import CLIP_MODEL, PREDICTOR, prefix_pairs, rename

Kind = Literal["cat-seg", "h-clip", "maft+", "fc-clip", "clip"]

LAYER_R = "attn_q_proj_oft_layer_R"
RELATION_L = "attn_q_proj_oft_relation_l_R.weight"
RELATION_M = "attn_q_proj_oft_relation_m_R"
_ADAPTER = re.compile(r"resblocks\.\d+\.(attn_q_proj_oft_.*)$")
_SPLIT = re.compile(r"(.*\.attn)\.(q|k|v)_proj_weight$")
_WITHOUT_WEIGHTS = re.compile(r"(attn_mask|\.(cross_attention_dim|hidden_size))$|^(clip_)?pixel_(mean|std)$")

TENSOR = "backbone.adapter.tensor"
LAYERS = "backbone.adapter.relation.layers"
COLUMNS = "backbone.adapter.relation.columns"
TRAINED = "backbone.adapter.weights"
FOLD_FIRST = "tools/fold_adapters.py makes adapters that change CLIP's weights a part of them, which can be converted"


def recognise(state: Mapping[str, Tensor]) -> Kind:
    """What a state dict is.

    Raises:
        ValueError: if it is none of the known kinds; names the first of its parameters.
    """
    if any(LAYER_R in name for name in state):
        return "h-clip"
    if maft_plus.is_maft_plus(state):
        return "maft+" if any(name.startswith(maft_plus.TRANSFER) for name in state) else "fc-clip"
    if any(name.startswith(PREDICTOR) for name in state):
        return "cat-seg"
    if any(name in state for name in ("visual.conv1.weight", "visual.proj")):
        return "clip"
    raise ValueError(
        "this is no checkpoint of CAT-Seg, H-CLIP, MAFT+, FC-CLIP or CLIP that this project knows; its first "
        "parameters are " + ", ".join(list(state)[:3])
    )


def _layers_of(state: Mapping[str, Tensor], pattern: str) -> int:
    found = {int(match[1]) for name in state if (match := re.search(pattern, name))}
    return max(found) + 1 if found else 0


def _shared_adapters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The adapter parameters that a published checkpoint lists again under every block.

    Raises:
        ValueError: if the lists disagree: which name, under which two blocks.
    """
    shared: dict[str, tuple[str, Tensor]] = {}
    for name, value in state.items():
        match = _ADAPTER.search(name)
        if not match:
            continue
        first_name, first = shared.setdefault(match[1], (name, value))
        if first.shape != value.shape or not torch.equal(first, value):
            raise ValueError(
                f"the checkpoint lists the shared parameter {match[1]} with different values: {first_name} and "
                f"{name}; it is damaged or was trained by other code"
            )
    return {name: value for name, (_, value) in shared.items()}


def _adapters_to_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    shared = _shared_adapters(state)
    layers = _layers_of(shared, rf"{RELATION_M}\.(\d+)\.")
    missing = [name for name in (LAYER_R, RELATION_L) if name not in shared]
    if missing or not layers:
        raise ValueError(f"the H-CLIP checkpoint lacks {', '.join(missing) or RELATION_M}")
    columns = [shared[f"{RELATION_M}.{layer}.weight"] for layer in range(layers)]
    return {TENSOR: shared[LAYER_R], LAYERS: shared[RELATION_L], COLUMNS: torch.stack(columns)}


def _join_projections(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Separate q, k and v weights together as open_clip's ``in_proj_weight``."""
    joined = dict(state)
    for name in state:
        match = _SPLIT.match(name)
        if match and match[2] == "q":
            parts = [joined.pop(f"{match[1]}.{projection}_proj_weight") for projection in "qkv"]
            joined[f"{match[1]}.in_proj_weight"] = torch.cat(parts)
    return joined


def to_ours(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """A published checkpoint as this project's.

    Args:
        checkpoint: ``{"model": state}``, ``{"state_dict": state}`` or a bare state dict.

    Returns:
        ``state_dict`` with our names, and ``meta`` with 'published': its kind, and the entries that hold
        no weights, so that :func:`to_published` can give back every tensor; for MAFT+ and FC-CLIP see
        :func:`hclip_mmseg.conversion.maft_plus.to_ours`.

    Raises:
        ValueError: on an unknown kind, parameters of unknown name, or shared parameters that disagree.
    """
    state = checkpoint.get("model", checkpoint.get("state_dict", checkpoint))
    state = {name.removeprefix("module."): torch.as_tensor(value) for name, value in state.items()}
    kind = recognise(state)
    if kind in ("maft+", "fc-clip"):
        return maft_plus.to_ours(state)
    if kind == "clip":
        state = {CLIP_MODEL + name: value for name, value in state.items()}
        for extra in ("input_resolution", "context_length", "vocab_size"):
            state.pop(CLIP_MODEL + extra, None)
    extras = {name: value for name, value in state.items() if _WITHOUT_WEIGHTS.search(name)}
    weights = {name: value for name, value in state.items() if name not in extras}
    ours = _adapters_to_ours(weights) if kind == "h-clip" else {}
    weights = _join_projections({n: v for n, v in weights.items() if not _ADAPTER.search(n)})
    pairs = [(theirs, own) for own, theirs in prefix_pairs(_layers_of(weights, r"transformer\.layers\.(\d+)\."))]
    unknown = []
    for name, value in weights.items():
        renamed = rename(name, pairs)
        if renamed is None:
            unknown.append(name)
        else:
            ours[renamed] = value.float()
    if unknown:
        raise ValueError(
            f"{len(unknown)} parameters of the {kind} checkpoint have names that no published checkpoint has: "
            + ", ".join(unknown[:5])
        )
    if kind == "cat-seg":
        ours.update(_tuned_projections(ours))
    published = dict(kind=kind, extras=extras, names=list(state))
    return {"meta": dict(published=published), "state_dict": ours}


def _tuned_projections(ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """CAT-Seg's tuned q and v as the parameters of its adapter (``TrainedProjections``)."""
    tuned = {}
    for name, value in ours.items():
        match = re.match(r"backbone\.(image|text)_tower\.transformer\.resblocks\.(\d+)\.attn\.in_proj_weight$", name)
        if match:
            q, _, v = value.chunk(3)
            tuned[f"{TRAINED}.{match[1]}.{match[2]}.q"] = q.clone()
            tuned[f"{TRAINED}.{match[1]}.{match[2]}.v"] = v.clone()
    return tuned


def to_published(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """This project's checkpoint under the names of the published code.

    Args:
        checkpoint: with ``state_dict``; from :func:`to_ours`, or from training one of our configs.

    Returns:
        ``{"model": state}`` for CAT-Seg, H-CLIP and MAFT+; for one without a head, CLIP's bare state dict.

    Raises:
        ValueError: on parameters that the published models do not have, and on adapters that they would read
            otherwise.
    """
    ours = dict(checkpoint["state_dict"])
    published = checkpoint.get("meta", {}).get("published", {})
    if any(name.startswith("head.pixel_decoder.") for name in ours):
        return maft_plus.to_published(ours, published)
    kind = published.get("kind") or ("h-clip" if TENSOR in ours else "cat-seg")
    layers = _layers_of(ours, r"aggregator\.layers\.(\d+)\.")
    adapters = {name: ours.pop(name) for name in list(ours) if name.startswith("backbone.adapter.")}
    _check_adapters(kind, adapters, checkpoint.get("meta", {}).get("cfg"))
    pairs = sorted(prefix_pairs(layers), key=lambda pair: len(pair[0]), reverse=True)
    state = {}
    for name, value in ours.items():
        renamed = rename(name, pairs)
        if renamed is None:
            raise ValueError(f"{name} has no counterpart in the published models")
        state[renamed] = value
    if kind == "clip":
        return {name.removeprefix(CLIP_MODEL): value for name, value in state.items()}
    if kind == "cat-seg":
        _split_projections(state, adapters)
    else:
        _list_under_every_block(state, adapters)
    state.update(published.get("extras", {}))
    order = {name: place for place, name in enumerate(published.get("names", ()))}
    return {"model": dict(sorted(state.items(), key=lambda item: order.get(item[0], len(order))))}


def _check_adapters(kind: str, adapters: Mapping[str, Tensor], config: str | None) -> None:
    """Refuses adapters that the published models do not have; ``config`` is the text of the one that trained them."""
    if kind == "h-clip":
        known = [name for name in adapters if name in (TENSOR, LAYERS, COLUMNS)]
        orthogonal = _orthogonal_in(config or "")
        if orthogonal != ("text",):
            raise ValueError(
                f"the checkpoint was trained with orthogonal={orthogonal}, and the published code reads its "
                f"numbers as those of orthogonal=('text',); {FOLD_FIRST}"
            )
    else:
        known = [name for name in adapters if re.fullmatch(rf"{re.escape(TRAINED)}\.(image|text)\.\d+\.[qkv]", name)]
    others = [name for name in adapters if name not in known]
    if others and TENSOR not in adapters:
        raise ValueError(f"{others[0]} has no counterpart in the published models; {FOLD_FIRST}")


def _orthogonal_in(config: str) -> tuple[str, ...]:
    """``orthogonal`` of the adapter in a config's text, which is read and not executed: it comes from a checkpoint."""
    try:
        tree = ast.parse(config)
    except SyntaxError:
        return ("text",)
    adapters = [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "adapter"]
    settings = [one for adapter in adapters if isinstance(adapter, ast.Call) for one in adapter.keywords]
    found = [tuple(ast.literal_eval(one.value)) for one in settings if one.arg == "orthogonal"]
    return found[0] if found else ("text",)


def _split_projections(state: dict[str, Tensor], adapters: Mapping[str, Tensor]) -> None:
    for name in [name for name in state if name.endswith("attn.in_proj_weight")]:
        prefix = name.removesuffix(".in_proj_weight")
        tower = "image" if ".visual." in name else "text"
        layer = re.search(r"resblocks\.(\d+)\.", name)
        assert layer is not None
        for projection, weight in zip("qkv", state.pop(name).chunk(3), strict=True):
            tuned = adapters.get(f"{TRAINED}.{tower}.{layer[1]}.{projection}", weight)
            state[f"{prefix}.{projection}_proj_weight"] = tuned.clone()


def _list_under_every_block(state: dict[str, Tensor], adapters: Mapping[str, Tensor]) -> None:
    missing = [name for name in (TENSOR, LAYERS, COLUMNS) if name not in adapters]
    if missing:
        raise ValueError(f"only H-CLIP with the linear relation was published; {', '.join(missing)} is missing")
    blocks = sorted({m[1] for name in state if (m := re.match(r"(.*clip_model\..*resblocks\.\d+)\.", name))})
    for block in blocks:
        state[f"{block}.{LAYER_R}"] = adapters[TENSOR]
        state[f"{block}.{RELATION_L}"] = adapters[LAYERS]
        for layer, matrix in enumerate(adapters[COLUMNS]):
            state[f"{block}.{RELATION_M}.{layer}.weight"] = matrix
