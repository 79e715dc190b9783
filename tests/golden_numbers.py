"""Reads tests/golden: what published implementations compute, and what papers print.

No weight file travels with the numbers. Every tensor behind them is drawn from a generator that is seeded with the
CRC-32 of the tensor's name, so names and shapes are enough to draw it again.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / "golden"
TEXT_SLICES = 4  # of an H-CLIP adapter tensor [128, 128, 48, 10]; the other six are of the image tower
ADAPTER = "attn_q_proj_oft"
ADAPTER_IN_ANY_BLOCK = re.compile(rf"clip_model\.(visual\.)?transformer\.resblocks\.\d+\.{ADAPTER}")
ADAPTER_IN_THE_FIRST = f"clip_model.visual.transformer.resblocks.0.{ADAPTER}"
NORMS = ("ln_", "norm", "double_conv.1", "double_conv.4")

DrawValue = Callable[[str, Sequence[int]], Tensor]


def read_json(name: str) -> Any:
    """Read ``tests/golden/<name>.json``."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def read_arrays(name: str) -> Any:
    """Open ``tests/golden/<name>.npz``: its arrays by name."""
    return np.load(FOLDER / f"{name}.npz")


def draw_noise(name: str, shape: Sequence[int]) -> Tensor:
    """Draw standard normal numbers that depend on the name and the shape alone."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))


def draw_segmentor_value(name: str, shape: Sequence[int]) -> Tensor:
    """Draw a tensor of a published CAT-Seg or H-CLIP checkpoint.

    H-CLIP's adapter and relations are one set of parameters that the checkpoint lists under every block of both
    towers, so they are drawn from the name that they have in the first.
    """
    noise = draw_noise(ADAPTER_IN_ANY_BLOCK.sub(ADAPTER_IN_THE_FIRST, name), shape)
    if name.endswith("layer_R"):
        start = torch.zeros(tuple(shape))
        start[..., TEXT_SLICES:] = torch.eye(shape[0])[:, :, None, None]
        return start + 0.02 * noise
    if "relation_" in name:
        return torch.eye(shape[0]) + 0.05 * noise
    if name.endswith("weight") and any(part in name for part in NORMS):
        return 1 + 0.1 * noise
    if name.endswith("bias"):
        return 0.02 * noise
    if name.endswith("logit_scale"):
        return torch.tensor(4.6052)
    if "clip_model" in name:
        return 0.03 * noise
    inputs = noise[0].numel() if noise.dim() > 1 else noise.numel()
    return noise * (1 / max(inputs, 1)) ** 0.5


def draw_clip_value(name: str, shape: Sequence[int]) -> Tensor:
    """Draw a tensor of the CLIP checkpoint behind cliptrase.npz."""
    noise = draw_noise(f"clip.{name}", shape)
    if name.endswith("weight") and "ln_" in name:
        return 1 + 0.1 * noise
    if name.endswith("bias"):
        return 0.02 * noise
    if name == "logit_scale":
        return torch.tensor(4.6052)
    return 0.03 * noise


def draw_state(name: str, draw_value: DrawValue = draw_segmentor_value) -> dict[str, Tensor]:
    """Draw the checkpoint whose names and shapes are the entry ``state`` of ``<name>.json``.

    Attention masks are left out: they hold no weights.
    """
    shapes = read_json(name)["state"]
    return {key: draw_value(key, shape) for key, shape in shapes.items() if not key.endswith("attn_mask")}
