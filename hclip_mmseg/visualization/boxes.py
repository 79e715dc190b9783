"""Boxes over their image, each with its class name and score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hclip_mmseg.visualization.colours import name_colours
from hclip_mmseg.visualization.text import INK, PAPER, font, shortened


def draw_boxes(
    image: NDArray[np.uint8],
    corners: NDArray[np.floating],
    labels: NDArray[np.integer],
    scores: NDArray[np.floating],
    names: Sequence[str],
) -> NDArray[np.uint8]:
    """Draw boxes, the highest scores on top; lines and letters grow with the image.

    Args:
        image: RGB, [H, W, 3].
        corners: [n, 4], (x1, y1, x2, y2) in pixels.
        labels: [n], indices of ``names``.
        scores: [n].
        names: the class names.

    Returns:
        RGB uint8 [H, W, 3].
    """
    drawn = Image.fromarray(image)
    draw = ImageDraw.Draw(drawn)
    side = min(image.shape[:2])
    width, letters = max(1, round(side / 250)), font(int(np.clip(side / 36, 9, 48)))
    colours = name_colours(names)
    for place in np.argsort(scores, kind="stable"):
        colour = tuple(colours[labels[place]].tolist())
        draw.rectangle(corners[place].tolist(), outline=colour, width=width)
        text = f"{shortened(names[labels[place]])} {scores[place]:.2f}"
        x, y = corners[place][:2].tolist()
        x = max(min(x, drawn.width - letters.getlength(text)), 0)
        field = draw.textbbox((x, y), text, font=letters)
        draw.rectangle(field, fill=colour)
        dark = np.dot(colours[labels[place]], (0.299, 0.587, 0.114)) < 140
        draw.text((x, y), text, font=letters, fill=PAPER if dark else INK)
    return np.asarray(drawn)
