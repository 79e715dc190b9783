"""Windows of an image, and what was found in them put together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.models.segmentors.views import window_starts
from hclip_mmseg.training_free.bilinear import resize_weights, resized_by
from hclip_mmseg.training_free.byte_images import Normalisation, resized_image
from hclip_mmseg.training_free.protocol import Settings


def protocol_sizes(size: tuple[int, int], settings: Settings) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width that an image is brought to: both bounds of its sides held, its shape kept; and as multiples.

    Sides are rounded as MMCV's ``imrescale`` rounds them, halves up, and then up to ``settings.multiple``.
    """
    scale = min(settings.long_side / max(size), settings.short_side / min(size))
    height, width = (max(int(side * scale + 0.5), 1) for side in size)
    multiple = settings.multiple
    return (height, width), (-(-height // multiple) * multiple, -(-width // multiple) * multiple)


def at_protocol_size(image: Tensor, settings: Settings, normalisation: Normalisation | None = None) -> Tensor:
    """A normalised image [3, H, W] resized as published to :func:`protocol_sizes`, one after the other.

    The first resize is the data pipeline's, of bytes; multiples are the model's.
    """
    kept_shape, multiples = protocol_sizes((image.shape[-2], image.shape[-1]), settings)
    return resized_image(resized_image(image, kept_shape, normalisation), multiples)


@dataclass(frozen=True)
class Windows:
    """Windows of one image, all of one size.

    Attributes:
        places: (top, left) of each in the image, in pixels.
        size: height and width of each in pixels.
        image: height and width of the image in pixels.
        margin: pixels of zeros (top, left) that stand before the window's own where windows are padded.
        padded: height and width of each with its padding.
    """

    places: tuple[tuple[int, int], ...]
    size: tuple[int, int]
    image: tuple[int, int]
    margin: tuple[int, int] = (0, 0)
    padded: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, image: tuple[int, int], settings: Settings) -> Windows:
        """The windows of an image of a height and width.

        The last ones are moved inside; a side shorter than the window is taken as it is.
        """
        size = (min(settings.window, image[0]), min(settings.window, image[1])) if settings.window else image
        starts = [window_starts(side, own, settings.stride) for side, own in zip(image, size, strict=True)]
        padded = (-(-size[0] // settings.pad) * settings.pad, -(-size[1] // settings.pad) * settings.pad)
        margin = ((padded[0] - size[0]) // 2, (padded[1] - size[1]) // 2)
        return cls(tuple((top, left) for top in starts[0] for left in starts[1]), size, image, margin, padded)

    def whole(self) -> Windows:
        """The image itself as the only window."""
        return Windows(((0, 0),), self.image, self.image, padded=self.image)

    def cut(self, image: Tensor) -> Tensor:
        """The windows' pixels [n, C, *padded] of an image [C, *image]."""
        height, width = self.size
        parts = torch.stack([image[:, top : top + height, left : left + width] for top, left in self.places])
        top, left = self.margin
        bottom, right = self.padded[0] - height - top, self.padded[1] - width - left
        return F.pad(parts, (left, right, top, bottom)) if self.padded != self.size else parts

    def visits(self, axis: int) -> Tensor:
        """How many windows see each row (axis 0) or column (axis 1) of pixels; a pixel is seen by as many of each."""
        count = torch.zeros(self.image[axis], dtype=torch.float64)
        for start in self.starts(axis):
            count[start : start + self.size[axis]] += 1
        return count

    def starts(self, axis: int) -> list[int]:
        """The first row (axis 0) or column (axis 1) of the windows, ascending."""
        return sorted({place[axis] for place in self.places})

    def to_pixels(self, axis: int, tokens: int, length: int) -> Tensor:
        """What brings the windows' scores along one axis to the image's own size.

        Every step is linear, and rows and columns go apart: from tokens bilinearly to the window's pixels, its padding
        cut off, the mean over windows, and bilinearly from the image at the protocol's size to its own.

        Args:
            axis: 0 for rows, 1 for columns.
            tokens: of a window with its padding.
            length: of the image's own rows or columns.

        Returns:
            fp64 [length, windows along the axis * tokens].
        """
        margin, size = self.margin[axis], self.size[axis]
        own = resize_weights(tokens, self.padded[axis])[margin : margin + size]
        whole = resize_weights(self.image[axis], length) / self.visits(axis)
        return torch.cat([whole[:, start : start + size] @ own for start in self.starts(axis)], dim=1)

    def stitched(self, maps: Tensor) -> Tensor:
        """Token maps of windows averaged into one map of the image (OV-Stitcher, section 3.2).

        Padding is cut off: a token counts where its middle lies in the window. Tokens of windows that do not start on a
        multiple of the token's side go to the nearest place.

        Args:
            maps: [n, C, rows, columns] of the windows with their padding.

        Returns:
            [C, rows, columns] of the image, both rounded up where a token would be cut.
        """
        rows, columns = maps.shape[-2:]
        side = self.padded[0] / rows, self.padded[1] / columns
        grid = tuple(max(round(of_image / own), 1) for of_image, own in zip(self.image, side, strict=True))
        down, right = (self._token_places(axis, maps.shape[2 + axis], grid[axis]).to(maps.device) for axis in (0, 1))
        index = (down[:, :, None] * grid[1] + right[:, None, :]).flatten()
        inside = ((down >= 0)[:, :, None] & (right >= 0)[:, None, :]).flatten()
        tokens = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])[inside]
        total = maps.new_zeros(grid[0] * grid[1], maps.shape[1]).index_add_(0, index[inside], tokens)
        count = torch.bincount(index[inside], minlength=grid[0] * grid[1]).clamp_(min=1)
        return (total / count[:, None]).T.unflatten(1, grid)

    def _token_places(self, axis: int, tokens: int, in_image: int) -> Tensor:
        """The row (axis 0) or column of the image that each window's tokens fall on, [n, tokens]; -1 for padding."""
        side = self.padded[axis] / tokens
        middles = (torch.arange(tokens) + 0.5) * side - self.margin[axis]
        inside = (middles >= 0) & (middles < self.size[axis])
        starts = torch.tensor([place[axis] for place in self.places])
        places = torch.floor((middles + starts[:, None]) * (in_image / self.image[axis])).long().clamp(0, in_image - 1)
        return places.masked_fill(~inside, -1)


@dataclass(frozen=True)
class WindowScores:
    """Scores of the tokens of windows, enlarged and averaged a few names at a time.

    Attributes:
        scores: [n, names, rows, columns] of the windows with their padding.
        windows: where they are.
        straight: whether the scores of one window go to the image's own size at once, not by way of its pixels at the
            protocol's size.
    """

    scores: Tensor
    windows: Windows
    straight: bool = False

    @property
    def names(self) -> int:
        """Number of names."""
        return self.scores.shape[1]

    def maps(self, chosen: slice | Sequence[int], size: tuple[int, int]) -> Tensor:
        """Score maps of some names [chosen, *size], bilinear from tokens to windows and from the image to ``size``."""
        own = self.scores[:, chosen]
        windows, tokens = self.windows, (own.shape[-2], own.shape[-1])
        if self.straight and len(own) == 1:
            windows = Windows(windows.places, size, size, padded=size)
        down, right = (windows.to_pixels(axis, tokens[axis], size[axis]) for axis in (0, 1))
        side_by_side = own.unflatten(0, (len(windows.starts(0)), -1)).permute(2, 0, 3, 1, 4)
        return resized_by(down, side_by_side.reshape(-1, down.shape[1], right.shape[1]), right)
