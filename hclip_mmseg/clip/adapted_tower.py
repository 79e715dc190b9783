"""A tower of CLIP together with the adapter that changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from torch import Tensor

from hclip_mmseg.adapters import Adapter
from hclip_mmseg.adapters.base import Block, Tower
from hclip_mmseg.clip.attention import AdaptedProjections, PlainProjections, Projections


class ClipTower(Protocol):
    """What :class:`AdaptedTower` uses of a tower."""

    name: ClassVar[Tower]

    @property
    def blocks(self) -> Sequence[Block]:
        """The transformer's blocks."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Runs the tower."""


AnyTower = TypeVar("AnyTower", bound=ClipTower)


@dataclass(frozen=True, eq=False)  # torch.compile takes the hash of a callable before its fields are set
class AdaptedTower(Generic[AnyTower]):
    """A tower and its adapter, handed around as one, so that no part of the tower runs without the adapter.

    Attributes:
        tower: CLIP's own, or one whose weights the adapter was folded into.
        adapter: what changes it, or None.
    """

    tower: AnyTower
    adapter: Adapter | None = None

    def projections(self, layer: int) -> Projections:
        """What computes the projections of a block, counted from 0."""
        attention = self.tower.blocks[layer].attn
        if self.adapter is None:
            return PlainProjections.of(attention)
        return AdaptedProjections(attention, self.adapter, self.tower.name, layer)

    def embed(self, images: Tensor) -> Tensor:
        """An image tower's tokens before its first block: [B, 3, H, W] -> [B, 1 + patches, width]."""
        tower: Any = self.tower
        tokens: Tensor = tower.embed(images, adapter=self.adapter)
        return tokens

    def project(self, tokens: Tensor) -> Tensor:
        """An image tower's last norm and projection: [..., width] -> [..., embed_dim]."""
        tower: Any = self.tower
        embeddings: Tensor = tower.project(tokens, adapter=self.adapter)
        return embeddings

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """What the tower gives for these arguments, adapted."""
        return self.tower(*arguments, **options, adapter=self.adapter)
