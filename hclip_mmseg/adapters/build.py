"""Adapters by name: a new adapter is a module of its own and an entry here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from hclip_mmseg.adapters.base import Adapter
from hclip_mmseg.adapters.dcrc import DCRC
from hclip_mmseg.adapters.houlsby import HoulsbyAdapter
from hclip_mmseg.adapters.lora import LoRA
from hclip_mmseg.adapters.lst import LST
from hclip_mmseg.adapters.oft import OFT
from hclip_mmseg.adapters.pop import POP
from hclip_mmseg.adapters.ssf import SSF
from hclip_mmseg.adapters.trained_projections import TrainedProjections
from hclip_mmseg.adapters.vpt import VPT
from hclip_mmseg.files.near_names import near_names, question

ADAPTERS: Mapping[str, type[Adapter]] = {
    kind.__name__: kind for kind in (POP, DCRC, OFT, TrainedProjections, LoRA, VPT, HoulsbyAdapter, LST, SSF)
}


def near_adapter(word: str) -> str:
    """The adapter whose name is most like a word."""
    return near_names(word, ADAPTERS, nearness=0)[0]


def build_adapter(
    config: Mapping[str, Any], *, image_layers: int, text_layers: int, image_width: int, text_width: int
) -> Adapter:
    """An adapter for a CLIP of the given size.

    Its random numbers are drawn aside: what is built after it starts alike with every adapter and with none.

    Args:
        config: ``dict(type='POP', ...)`` with the adapter's own arguments, and ``strength``, 1 where it is not given
            (:attr:`~hclip_mmseg.adapters.base.Adapter.strength`).
        image_layers: number of blocks of the image tower.
        text_layers: number of blocks of the text tower.
        image_width: width of the image tower.
        text_width: width of the text tower.

    Raises:
        ValueError: on an unknown type or argument, or on values that do not fit this CLIP.
    """
    if isinstance(config, str):
        raise ValueError(
            f"adapter is the text {config!r}, and must be a dict: to train another adapter than the config's, take a "
            f"config of configs/peft/, or set adapter=dict(type={near_adapter(config)!r}) in a config of your own"
        )
    arguments = dict(config)
    kind, strength = arguments.pop("type", None), arguments.pop("strength", 1.0)
    if kind not in ADAPTERS:
        raise ValueError(
            f"adapter.type must be one of {sorted(ADAPTERS)}, not {kind!r}{question([near_adapter(str(kind))])}"
        )
    sizes = dict(
        image_layers=image_layers, text_layers=text_layers, image_width=image_width, text_width=text_width
    )
    try:
        with torch.random.fork_rng(devices=()):
            adapter = ADAPTERS[kind](**{**sizes, **arguments})
    except TypeError as error:
        raise ValueError(f"the adapter {kind!r} cannot be built with {arguments}: {error}") from error
    adapter.strength = strength
    return adapter
