"""H-CLIP: CAT-Seg's head on a CLIP with orthogonal adapters, which all blocks share."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hclip_mmseg.conversion.cat_seg import SEGMENTOR_RULES, WITHOUT_WEIGHTS
from hclip_mmseg.conversion.clip import ADAPTER, FOLD_FIRST, join_projections
from hclip_mmseg.conversion.kind import Kind, State

LAYER_R = "attn_q_proj_oft_layer_R"
RELATION_L = "attn_q_proj_oft_relation_l_R.weight"
RELATION_M = "attn_q_proj_oft_relation_m_R"
TENSOR = ADAPTER + "tensor"
LAYERS = ADAPTER + "relation.layers"
COLUMNS = ADAPTER + "relation.columns"
_SHARED = re.compile(r"resblocks\.\d+\.(attn_q_proj_oft_.*)$")
_BLOCK = re.compile(r"(.*clip_model\..*resblocks\.\d+)\.")
PUBLISHED_SETTINGS: Mapping[str, Any] = {"orthogonal": ("text",), "relate": "X", "sides": None}
"""Settings of the adapter that its numbers do not show, as the published code has them."""
_NOT_PLAIN = object()


class HCLIP(Kind):
    """The shared parameters are listed again under every block; here each is held once."""

    def gather(self, state: State) -> State:
        """The shared parameters once, the columns' matrices of all layers stacked.

        Raises:
            ValueError: if one is missing, or the lists disagree: which name, under which two blocks.
        """
        shared: dict[str, tuple[str, Tensor]] = {}
        for name, value in state.items():
            match = _SHARED.search(name)
            if not match:
                continue
            first_name, first = shared.setdefault(match[1], (name, value))
            if first.shape != value.shape or not torch.equal(first, value):
                raise ValueError(
                    f"the checkpoint lists the shared parameter {match[1]} with different values: {first_name} and "
                    f"{name}; it is damaged or was trained by other code"
                )
        columns = {}
        for name, (_, value) in shared.items():
            if match := re.match(rf"{RELATION_M}\.(\d+)\.weight$", name):
                columns[int(match[1])] = value
        missing = [name for name in (LAYER_R, RELATION_L) if name not in shared]
        if missing or not columns or set(columns) != set(range(len(columns))):
            raise ValueError(f"the H-CLIP checkpoint lacks {', '.join(missing) or RELATION_M}")
        gathered = join_projections({name: value for name, value in state.items() if not _SHARED.search(name)})
        gathered |= {LAYER_R: shared[LAYER_R][1], RELATION_L: shared[RELATION_L][1]}
        gathered[RELATION_M] = torch.stack([columns[layer] for layer in range(len(columns))])
        return gathered

    def spread(self, state: State) -> State:
        """The shared parameters under every block."""
        spread = dict(state)
        tensor, layers, columns = (spread.pop(name) for name in (LAYER_R, RELATION_L, RELATION_M))
        for block in sorted({match[1] for name in spread if (match := _BLOCK.match(name))}):
            spread |= {f"{block}.{LAYER_R}": tensor, f"{block}.{RELATION_L}": layers}
            spread |= {f"{block}.{RELATION_M}.{layer}.weight": matrix for layer, matrix in enumerate(columns)}
        return spread

    def check(self, ours: Mapping[str, Tensor], config: str) -> None:
        """Refuse blocks that the published code would read otherwise, and other relations than the linear.

        Raises:
            ValueError: which setting or parameter it is.
        """
        for name, value in adapter_settings(config).items():
            if value != PUBLISHED_SETTINGS.get(name, value):
                raise ValueError(
                    f"the checkpoint was trained with {name}={value!r}, and the published code reads its numbers as "
                    f"those of {name}={PUBLISHED_SETTINGS[name]!r}; {FOLD_FIRST}"
                )
        missing = [name for name in (TENSOR, LAYERS, COLUMNS) if name not in ours]
        if missing:
            raise ValueError(f"only H-CLIP with the linear relation was published; {', '.join(missing)} is missing")


def adapter_settings(config: str) -> dict[str, Any]:
    """The adapter's settings in a config's text, which is read and not executed: it comes from a checkpoint.

    Returns:
        Name -> value, lists as tuples; settings that are no plain values are left out.
    """
    try:
        tree = ast.parse(config)
    except SyntaxError:
        return {}
    calls = (node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "adapter")
    adapter = next((call for call in calls if isinstance(call, ast.Call)), None)
    found = {} if adapter is None else {setting.arg: _plain(setting.value) for setting in adapter.keywords}
    return {name: value for name, value in found.items() if name is not None and value is not _NOT_PLAIN}


def _plain(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        values = {setting.arg: _plain(setting.value) for setting in node.keywords}
        return _NOT_PLAIN if _NOT_PLAIN in values.values() else values
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return _NOT_PLAIN
    return tuple(value) if isinstance(value, list) else value


H_CLIP = HCLIP(
    name="h-clip",
    rules=(*SEGMENTOR_RULES, (TENSOR, LAYER_R), (LAYERS, RELATION_L), (COLUMNS, RELATION_M)),
    published=(LAYER_R,),
    ours=rf"^{re.escape(TENSOR)}$",
    aside=WITHOUT_WEIGHTS,
    advice={ADAPTER: FOLD_FIRST},
)
