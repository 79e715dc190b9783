"""Score maps smoothed along the image's edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

AROUND = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0))


@MODELS.register_module()
class PAMR(nn.Module):
    """Pixel-adaptive mask refinement (Araslanov and Roth, CVPR 2020, section 3.2), as NACLIP's code uses it.

    A pixel's score becomes the mean of those of its 8 neighbours at each distance, weighted by how alike their colours
    are: softmax over neighbours of the mean over channels of -|difference| / (1e-8 + 0.1 standard deviation), the
    deviation over all the neighbours and, for each distance, the pixel itself. At the border the image goes on as its
    last row or column.

    Args:
        steps: how often.
        dilations: distances of the neighbours in pixels.
        budget: bytes of score maps that are smoothed together.
    """

    part: ClassVar[str] = "smoothing"

    def __init__(self, steps: int = 10, dilations: Sequence[int] = (8, 16), budget: int = 1 << 26) -> None:
        super().__init__()
        if steps < 0 or not dilations or any(dilation < 1 for dilation in dilations):
            raise ValueError(f"PAMR takes steps of at least 0 and dilations of at least 1, not {steps} and {dilations}")
        self.steps, self.dilations, self.budget = steps, tuple(dilations), budget

    def shifts(self) -> list[tuple[int, int]]:
        """(down, right) of all neighbours in pixels."""
        return [(down * far, right * far) for far in self.dilations for down, right in AROUND]

    def weights(self, image: Tensor) -> Tensor:
        """Weights of the neighbours of every pixel of a normalised image [3, H, W]: [neighbours, H, W], sum 1."""
        margin = max(self.dilations)
        padded = self._padded(image, margin)
        count = 9 * len(self.dilations)
        # two passes over neighbours, so that no [3, neighbours, H, W] is held
        total = len(self.dilations) * image
        for shift in self.shifts():
            total = total + self._shifted(padded, shift, margin, image)
        mean = total / count
        squares = len(self.dilations) * (image - mean).square()
        for shift in self.shifts():
            squares += (self._shifted(padded, shift, margin, image) - mean).square()
        divisor = 1e-8 + 0.1 * (squares / (count - 1)).sqrt()
        alike = [
            -((self._shifted(padded, shift, margin, image) - image).abs() / divisor).mean(dim=0)
            for shift in self.shifts()
        ]
        return torch.stack(alike).softmax(dim=0)

    def prepared(self, image: Tensor) -> Callable[[Tensor], Tensor]:
        """What smooths score maps [C, H, W] of a normalised image [3, H, W]."""
        weights = self.weights(image.float())
        margin = max(self.dilations)
        at_once = max(self.budget // (4 * image.shape[-2] * image.shape[-1]), 1)

        def smooth(maps: Tensor) -> Tensor:
            return torch.cat([refined(part) for part in maps.split(at_once)])

        def refined(maps: Tensor) -> Tensor:
            for _ in range(self.steps):
                padded, mixed = self._padded(maps, margin), torch.zeros_like(maps)
                for weight, shift in zip(weights, self.shifts(), strict=True):
                    mixed.addcmul_(self._shifted(padded, shift, margin, maps), weight)
                maps = mixed
            return maps

        return smooth

    @staticmethod
    def _padded(maps: Tensor, margin: int) -> Tensor:
        return F.pad(maps[None], (margin,) * 4, mode="replicate")[0]

    @staticmethod
    def _shifted(padded: Tensor, shift: tuple[int, int], margin: int, like: Tensor) -> Tensor:
        top, left = margin + shift[0], margin + shift[1]
        return padded[:, top : top + like.shape[-2], left : left + like.shape[-1]]
