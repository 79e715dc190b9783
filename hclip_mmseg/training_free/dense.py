"""Dense tokens of a frozen CLIP: what every method of the last block gives, and what it may look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from hclip_mmseg.clip import ImageTower, Projections
from hclip_mmseg.clip.attention import run_block
from hclip_mmseg.training_free.windows import Windows


class DenseTokens(NamedTuple):
    """Tokens of the patches of some images or windows.

    Attributes:
        tokens: [B, patches, width], before the tower's last norm and projection.
        grid: rows and columns of patches.
        normed: whether the last norm is done, where a method adds what comes behind it.
    """

    tokens: Tensor
    grid: tuple[int, int]
    normed: bool = False

    def maps(self) -> Tensor:
        """[B, width, rows, columns]."""
        return self.tokens.transpose(1, 2).unflatten(2, self.grid)

    @classmethod
    def of_maps(cls, maps: Tensor, normed: bool = False) -> DenseTokens:
        """From maps [B, width, rows, columns]."""
        return cls(maps.flatten(2).transpose(1, 2), (maps.shape[-2], maps.shape[-1]), normed)

    def projected(self, tower: ImageTower) -> Tensor:
        """[B, patches, embed_dim], as the tower's last norm and projection make them."""
        embeddings: Tensor = self.tokens @ tower.proj if self.normed else tower.project(self.tokens)
        return embeddings


class PatchWeights(NamedTuple):
    """What every patch takes of the others.

    Attributes:
        weights: [patches, patches], a row for each patch that takes.
        grid: rows and columns of patches.
    """

    weights: Tensor
    grid: tuple[int, int]


@dataclass(frozen=True)
class ImageContext:
    """What a method may know of the image beside the pixels of its windows.

    Attributes:
        image: normalised pixels [3, H, W] at the protocol's size.
        windows: where the windows lie in it.
        classify: dense tokens -> cosines with all names [B, names, rows, columns].
        metainfo: of the image, such as ``img_path``.
        first: which of the windows is the first of those at hand.
        original: normalised pixels [3, H, W] as they came, before they were resized; None: ``image``.
        benchmark: name of the benchmark's list that is asked for; "" for others.
        kept: title -> what patches were mixed by, filled by :meth:`keep` for whoever shows it; None: nothing is kept.
    """

    image: Tensor
    windows: Windows
    classify: Callable[[DenseTokens], Tensor]
    metainfo: Mapping[str, Any] = field(default_factory=dict)
    first: int = 0
    original: Tensor | None = None
    benchmark: str = ""
    kept: dict[str, PatchWeights] | None = None

    def own_pixels(self, count: int) -> Tensor:
        """The pixels of the ``count`` windows at hand [count, 3, h, w], those that fill no whole patch too."""
        places = self.windows.places[self.first : self.first + count]
        return replace(self.windows, places=places).cut(self.image)

    def keep(self, title: str, weights: Tensor, grid: tuple[int, int]) -> None:
        """Keep what patches are mixed by, where it is asked for.

        Args:
            title: such as 'attention'.
            weights: [patches, patches] of the first window, or [windows, (heads,) patches, patches], with or without
                the CLS token before the patches; heads are averaged.
            grid: rows and columns of patches.
        """
        if self.kept is None:
            return
        first = weights if weights.ndim == 2 else weights[0]
        own = first.mean(dim=0) if first.ndim == 3 else first
        self.kept[title] = PatchWeights(own[-grid[0] * grid[1] :, -grid[0] * grid[1] :], grid)


class DenseMethod(nn.Module, ABC):
    """A method that reads dense tokens from CLIP's image tower in its own way.

    Attributes:
        whole_image: whether it takes all windows of one image together and gives one map of the whole image.
    """

    whole_image: ClassVar[bool] = False

    def check(self, tower: ImageTower) -> None:
        """Raises a ValueError if the method cannot read this tower."""
        del tower

    @abstractmethod
    def forward(self, trunk: Trunk, pixels: Tensor, context: ImageContext) -> DenseTokens:
        """Dense tokens.

        Args:
            trunk: CLIP's image tower.
            pixels: normalised [n, 3, h, w] of windows, sides of whole patches.
            context: of the image.

        Returns:
            Of each window, or of the whole image (batch 1) where ``whole_image``.
        """


class Trunk:
    """CLIP's image tower with the projections of its blocks.

    Args:
        tower: CLIP's.
        projections: block index -> what computes the projections of that block.
    """

    def __init__(self, tower: ImageTower, projections: Callable[[int], Projections]) -> None:
        self.tower, self.projections = tower, projections

    @property
    def last(self) -> int:
        """Index of the last block."""
        return self.tower.layers - 1

    def run(self, pixels: Tensor, keep: Sequence[int] = ()) -> tuple[Tensor, dict[int, Tensor]]:
        """Tokens [n, 1 + patches, width] that go into the last block, and those after the blocks in ``keep``."""
        x, kept = self.tower.embed(pixels), {}
        for index, block in enumerate(self.tower.blocks[: self.last]):
            x = run_block(block, x, self.projections(index))
            if index in keep:
                kept[index] = x
        return x, kept

    def normed(self, x: Tensor, layer: int) -> Tensor:
        """ln_1 of a block."""
        return self.projections(layer).normed("ln_1", self.tower.blocks[layer].ln_1(x))

    def values(self, x: Tensor) -> Tensor:
        """v of the last block of tokens that go into it, [..., width]."""
        return self.projections(self.last).value(self.normed(x, self.last))

    def qkv(self, x: Tensor, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """q, k and v of a block of tokens that go into it, each [..., width]."""
        return self.projections(layer).qkv(self.normed(x, layer))

    def out(self, mixed: Tensor) -> Tensor:
        """The last block's output projection alone: without residual and MLP."""
        y: Tensor = self.tower.blocks[self.last].ls_1(self.projections(self.last).out(mixed))
        return y


def layers_of(layers: Sequence[int], count: int, owner: str) -> tuple[int, ...]:
    """Indices of blocks, negative ones counted from behind the last, as numbers from 0.

    Raises:
        ValueError: if the tower has no such block before its last.
    """
    found = tuple(layer + count if layer < 0 else layer for layer in layers)
    if not found or any(not 0 <= layer < count - 1 for layer in found):
        raise ValueError(
            f"{owner}.layers {tuple(layers)} must be blocks before the last of the image tower's {count}, from 0, or "
            "negative from behind the last"
        )
    return found


def whole_patches(pixels: Tensor, patch: int) -> Tensor:
    """Images [B, 3, H, W] without the pixels that fill no patch; a side below one patch is filled up with zeros."""
    height, width = pixels.shape[-2:]
    pixels = F.pad(pixels, (0, max(patch - width, 0), 0, max(patch - height, 0)))
    return pixels[..., : max(height // patch, 1) * patch, : max(width // patch, 1) * patch]
