"""Windows of an image, and what was found in them put together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hclip_mmseg.models.score_maps import resized
from hclip_mmseg.models.segmentors.views import window_starts
from hclip_mmseg.training_free.protocol import Settings


def protocol_size(size: tuple[int, int], settings: Settings) -> tuple[int, int]:
    """Height and width that an image is brought to: both bounds of its sides held, its shape kept.

    Sides are rounded as MMCV's ``imrescale`` rounds them, halves up, and then up to ``settings.multiple``.
    """
    scale = min(settings.long_side / max(size), settings.short_side / min(size))
    height, width = (max(int(side * scale + 0.5), 1) for side in size)
    multiple = settings.multiple
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def at_protocol_size(images: Tensor, settings: Settings) -> Tensor:
    """Images [B, 3, H, W] resized bilinearly, without antialiasing as published, to :func:`protocol_size`."""
    size = protocol_size((images.shape[-2], images.shape[-1]), settings)
    if size == tuple(images.shape[-2:]):
        return images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


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

    def merged(self, maps: Tensor) -> Tensor:
        """Maps of the windows' tokens, enlarged to pixels and averaged where windows overlap.

        Args:
            maps: [n, C, rows, columns] of the windows with their padding.

        Returns:
            [C, *image]; one window's pixels are held beside it.
        """
        whole = maps.new_zeros(maps.shape[1], *self.image)
        above, before = self.margin
        for (top, left), own in zip(self.places, maps, strict=True):
            pixels = resized(own, self.padded)[:, above : above + self.size[0], before : before + self.size[1]]
            whole[:, top : top + self.size[0], left : left + self.size[1]] += pixels
        return whole if len(self.places) == 1 else whole.div_(self.visits(maps.device))

    def visits(self, device: torch.device | None = None) -> Tensor:
        """How many windows see each pixel, [*image]; overlaps of rows and of columns are independent."""
        counts = []
        for axis in (0, 1):
            count = torch.zeros(self.image[axis], device=device)
            for start in {place[axis] for place in self.places}:
                count[start : start + self.size[axis]] += 1
            counts.append(count)
        return counts[0][:, None] * counts[1]

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
    """Scores of the tokens of windows, enlarged and merged a few names at a time.

    Attributes:
        scores: [n, names, rows, columns] of the windows with their padding.
        windows: where they are.
    """

    scores: Tensor
    windows: Windows

    @property
    def names(self) -> int:
        """Number of names."""
        return self.scores.shape[1]

    def maps(self, chosen: slice | Sequence[int], size: tuple[int, int]) -> Tensor:
        """Score maps of some names [chosen, *size], bilinear from tokens to windows and from the image to ``size``."""
        return resized(self.windows.merged(self.scores[:, chosen]), size)
