"""Images of bytes resized as OpenCV resizes them, bit for bit and on any device.

Published pipelines resize an image as it is read, before they normalise it (MMCV's ``imrescale``, bilinear). OpenCV
computes that in whole numbers and cuts some of their bits off, so that an eighth of all values are one less than
rounded bilinear ones.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ONE = 1 << 11
"""What OpenCV's weights of two neighbours sum to."""
NEAR = 0.02
"""Farthest that a normalised byte, brought back, may lie from a whole number."""


class Normalisation(NamedTuple):
    """What a data preprocessor takes off images and divides them by, each [3, 1, 1]."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, preprocessor: nn.Module) -> Normalisation | None:
        """That of MMSegmentation's preprocessor; None where it does not normalise."""
        mean, std = getattr(preprocessor, "mean", None), getattr(preprocessor, "std", None)
        return cls(mean, std) if isinstance(mean, Tensor) and isinstance(std, Tensor) else None


def resized_image(image: Tensor, size: tuple[int, int], normalisation: Normalisation | None = None) -> Tensor:
    """A normalised image [3, H, W] resized bilinearly, without antialiasing; one of bytes as OpenCV resizes it.

    Args:
        image: in floats.
        size: height and width of the result in pixels.
        normalisation: of the image; None: it is taken for no image of bytes.
    """
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    bilinear = F.interpolate(image[None], size=size, mode="bilinear", align_corners=False)[0]
    if normalisation is None:
        return bilinear
    mean, std = (each.to(image) for each in normalisation)
    pixels = image * std + mean
    nearest = pixels.round().clamp(0, 255)
    of_bytes = (pixels - nearest).abs().amax() < NEAR  # asked on the device, so that no GPU is waited for
    return torch.where(of_bytes, (resized_bytes(nearest.int(), size).to(image) - mean) / std, bilinear)


def resized_bytes(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Values from 0 to 255 resized as by ``cv2.resize(..., interpolation=cv2.INTER_LINEAR)``.

    Args:
        pixels: int32 [C, H, W].
        size: height and width of the result in pixels.

    Returns:
        int32 [C, *size].
    """
    height, width = pixels.shape[-2:]
    left, right, start, end = _neighbours(width, size[1], pixels.device, inside=True)
    rows = pixels[..., left] * start + pixels[..., right] * end
    above, below, start, end = _neighbours(height, size[0], pixels.device)
    rows >>= 4
    upper, lower = rows[:, above] * start[:, None], rows[:, below] * end[:, None]
    return ((upper >> 16) + (lower >> 16) + 2) >> 2


def _neighbours(
    source: int, target: int, device: torch.device, inside: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The two places that each new one lies between, and their weights in parts of :data:`ONE`.

    Args:
        source, target: numbers of places.
        device: of the result.
        inside: whether a place beyond the last middle has that one's value whole, as OpenCV has it along a row.
    """
    middles = torch.arange(target, dtype=torch.float64, device=device) + 0.5
    places = (middles * (1 / (target / source)) - 0.5).float()
    first = places.floor()
    part = places - first
    if inside:
        part = part.masked_fill((first < 0) | (first >= source - 1), 0)
    weights = ((1 - part) * ONE).round().int(), (part * ONE).round().int()
    first = first.long()
    return first.clamp(0, source - 1), (first + 1).clamp(0, source - 1), *weights
