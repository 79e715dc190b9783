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

    def stitched_grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the image's whole tokens where windows with their padding have ``grid``, at least 1."""
        sides = zip(self.image, self.padded, grid, strict=True)
        rows, columns = (max(image * tokens // padded, 1) for image, padded, tokens in sides)
        return rows, columns

    def stitched(self, maps: Tensor) -> Tensor:
        """Token maps of windows averaged into one map of the image, by the grid of OV-Stitcher's code.

        The image has as many tokens as fit into it whole, a window's first one lies at the start of the window divided
        by the token's side, rounded down. Tokens that begin in the padding are cut off, and those behind the window's
        last whole one. A token of the image that no window gives, where windows are no whole tokens, is its neighbour.

        Args:
            maps: [n, C, rows, columns] of the windows with their padding.

        Returns:
            [C, rows, columns] of the image, see :meth:`stitched_grid`.
        """
        grid = self.stitched_grid((maps.shape[-2], maps.shape[-1]))
        down, right = (self._token_places(axis, maps.shape[2 + axis], grid[axis]) for axis in (0, 1))
        filled = [_nearest_given(*of_axis).to(maps.device) for of_axis in zip((down, right), grid, strict=True)]
        down, right = down.to(maps.device), right.to(maps.device)
        index = (down[:, :, None] * grid[1] + right[:, None, :]).flatten()
        inside = ((down >= 0)[:, :, None] & (right >= 0)[:, None, :]).flatten()
        tokens = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])[inside]
        total = maps.new_zeros(grid[0] * grid[1], maps.shape[1]).index_add_(0, index[inside], tokens)
        count = torch.bincount(index[inside], minlength=grid[0] * grid[1]).clamp_(min=1)
        found = (total / count[:, None]).T.unflatten(1, grid)
        return found[:, filled[0][:, None], filled[1]]

    def _token_places(self, axis: int, tokens: int, in_image: int) -> Tensor:
        """The row (axis 0) or column of the image that each window's tokens fall on, [n, tokens]; -1 for none."""
        padded, margin, size = self.padded[axis], self.margin[axis], self.size[axis]
        first, own = -(-margin * tokens // padded), size * tokens // padded
        if not own:  # a window narrower than a token
            first, own = (2 * margin + size) * tokens // (2 * padded), 1
        index = torch.arange(tokens) - first
        starts = torch.tensor([place[axis] * tokens // padded for place in self.places])
        places = starts[:, None] + index
        return places.masked_fill((index < 0) | (index >= own) | (places >= in_image), -1)


def _nearest_given(places: Tensor, in_image: int) -> Tensor:
    """For each row or column of the image the nearest one that is among ``places``, int64 [in_image]."""
    given = places[places >= 0].unique()
    return given[(torch.arange(in_image)[:, None] - given).abs().argmin(dim=1)]


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
