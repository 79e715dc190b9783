"""The folder of this machine for what is fetched or computed once: weights, text embeddings."""

from __future__ import annotations

import os
from pathlib import Path

import torch

HOME = "HCLIP_HOME"


def home() -> Path:
    """``HCLIP_HOME``, else ``hclip_mmseg`` in torch.hub's own folder."""
    chosen = os.environ.get(HOME)
    return Path(chosen).expanduser().absolute() if chosen else Path(torch.hub.get_dir()).absolute() / "hclip_mmseg"
