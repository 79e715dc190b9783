"""Published checkpoints of all kinds to this project's and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hclip_mmseg.conversion.cat_seg import CAT_SEG
from hclip_mmseg.conversion.clip import CLIP
from hclip_mmseg.conversion.h_clip import H_CLIP
from hclip_mmseg.conversion.kind import Kind
from hclip_mmseg.conversion.maft_plus import FC_CLIP, MAFT_PLUS
from hclip_mmseg.conversion.sed import SED
from hclip_mmseg.conversion.towers import RESNETS, tower_of

KINDS: tuple[Kind, ...] = (H_CLIP, MAFT_PLUS, FC_CLIP, SED, CAT_SEG, CLIP)
"""A checkpoint is of the first kind that it has the names of: the narrower of two comes first."""


def recognise(state: Mapping[str, Tensor]) -> str:
    """The name of the kind that a published state dict is of.

    Raises:
        ValueError: if it is none of the known kinds; names the first of its parameters.
    """
    return _kind_of(state).name


def find_kind(state: Mapping[str, Tensor]) -> Kind | None:
    """The kind that a published state dict is of; None if it is no published one that this project knows."""
    return next((kind for kind in KINDS if kind.is_published(state)), None)


def _kind_of(state: Mapping[str, Tensor]) -> Kind:
    found = find_kind(state)
    tower = tower_of(state)
    if found is None and tower in RESNETS.values():
        raise ValueError(f"this is FC-CLIP on CLIP's {tower}; this project has FC-CLIP on ConvNeXt-L alone")
    if found is None:
        raise ValueError(
            "this is no checkpoint of CAT-Seg, H-CLIP, SED, MAFT+, FC-CLIP or CLIP that this project knows; its first "
            "parameters are " + ", ".join(list(state)[:3])
        )
    return found


def to_ours(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """A published checkpoint as this project's.

    Args:
        checkpoint: ``{"model": state}``, ``{"state_dict": state}`` or a bare state dict.

    Returns:
        ``state_dict`` with our names, and ``meta`` with 'published': ``kind``, the entries that hold no weights
        (``extras``), all ``names`` in order, and the ``vocabulary`` that was trained with, so that
        :func:`to_published` can give back every tensor.

    Raises:
        ValueError: on an unknown kind, parameters of unknown name, or shared parameters that disagree.
    """
    state = checkpoint.get("model", checkpoint.get("state_dict", checkpoint))
    state = {name.removeprefix("module."): torch.as_tensor(value) for name, value in state.items()}
    return _kind_of(state).to_ours(state)


def to_published(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """This project's checkpoint under the names of the published code.

    Args:
        checkpoint: with ``state_dict``; from :func:`to_ours`, or from training one of our configs.

    Returns:
        ``{"model": state}``; for one without a head, CLIP's bare state dict.

    Raises:
        ValueError: on parameters that the published models do not have, and on adapters that they would read
            otherwise.
    """
    ours, meta = checkpoint["state_dict"], checkpoint.get("meta", {})
    note = meta.get("published", {})
    noted = (kind for kind in KINDS if kind.name == note.get("kind"))
    kind = next(noted, None) or next((kind for kind in KINDS if kind.is_ours(ours)), CAT_SEG)
    return kind.to_published(ours, note, meta.get("cfg") or "")
