"""Text in drawings."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import ImageFont

INK = (30, 30, 30)
PAPER = (255, 255, 255)


def shortened(name: str, longest: int = 40) -> str:
    """A name cut to a number of characters."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


@lru_cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """A font with Latin, Greek and Cyrillic letters, ``size`` pixels high."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)
