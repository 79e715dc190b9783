"""Where in an image a class name scores."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def draw_heat_map(image: NDArray[np.uint8], scores: NDArray[np.floating], alpha: float = 0.65) -> NDArray[np.uint8]:
    """Blend scores into the grey image: dark where they are 0, yellow where they are 1.

    Args:
        image: RGB, [H, W, 3].
        scores: [H, W] in 0..1, on this scale for all names and images, so that maps can be compared.
        alpha: weight of the colours, 0..1.

    Returns:
        RGB uint8, [H, W, 3].

    Raises:
        ValueError: if image and scores differ in size.
    """
    if scores.shape != image.shape[:2]:
        raise ValueError(f"scores {list(scores.shape)} and image {list(image.shape[:2])} differ in size")
    steps = (scores.clip(0, 1) * 255).round().astype(np.uint8)
    colours = cv2.applyColorMap(steps, cv2.COLORMAP_INFERNO)[..., ::-1].astype(np.float32)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    drawn: NDArray[np.uint8] = ((1 - alpha) * grey + alpha * colours).round().astype(np.uint8)
    return drawn
