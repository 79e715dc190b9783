"""The folder of this machine for what is fetched or computed once (weights, text embeddings); whether to fetch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

HOME = "HCLIP_HOME"
OFFLINE = ("HCLIP_OFFLINE", "HF_HUB_OFFLINE")
"""Names in the environment that forbid the network."""


def home() -> Path:
    """``HCLIP_HOME``, else ``hclip_mmseg`` in torch.hub's own folder."""
    chosen = os.environ.get(HOME)
    return Path(chosen).expanduser().absolute() if chosen else Path(torch.hub.get_dir()).absolute() / "hclip_mmseg"


def hub_cache() -> Path | None:
    """The folder that huggingface_hub keeps repositories in; None: its own, where ``HCLIP_HOME`` is not set."""
    return home() / "hub" if os.environ.get(HOME) else None


def is_offline(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment forbids the network."""
    return any(environment.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in OFFLINE)
