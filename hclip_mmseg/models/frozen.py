"""The plain CLIP inside an open-vocabulary segmentor, as a segmentor of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mmseg.registry import MODELS

from hclip_mmseg.models.open_vocab_model import is_open_vocab


def is_training_free(model: Mapping[str, Any]) -> bool:
    """Whether a model's config describes one that is complete without a checkpoint."""
    kind = MODELS.get(model["type"])
    return is_open_vocab(kind) and kind.training_free


def frozen_clip_config(model: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a segmentor that compares names with CLIP's dense tokens and trains nothing.

    Args:
        model: config of an ``OpenVocabSegmentor``; only its CLIP, vocabulary and views are kept. A model that needs
            no training stays as it is.
    """
    if is_training_free(model):
        return copy.deepcopy(dict(model))
    frozen = copy.deepcopy(dict(model))
    frozen.pop("auxiliary_head", None)
    frozen["backbone"] = {
        **frozen["backbone"],
        "adapter": None,
        "guidance_layers": (),
        "guidance_channels": (),
        "residual": "value",
    }
    channels = frozen["decode_head"].get("text_channels", 512)
    frozen["decode_head"] = dict(type="CosineHead", text_channels=channels)
    return frozen
