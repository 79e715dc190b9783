"""What CLIP's image towers for dense prediction have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from hclip_mmseg.adapters import Adapter
from hclip_mmseg.adapters.base import Block, Norm, Tower
from hclip_mmseg.clip.adapted_tower import AdaptedTower
from hclip_mmseg.clip.attention import Turn, run_block, run_dense_block
from hclip_mmseg.clip.positions import HeldPositions


class VisionTower(nn.Module, ABC):
    """A transformer of images that gives tokens of patches instead of one embedding.

    Attributes:
        prefix: number of tokens before those of the patches: 1 where there is a CLS token, else 0.
        default_residual: the form of the last block that is taken where none is asked for.
        norm_names: norms outside of the blocks -> their names in the tower.
        grid_size: rows and columns of patches that the positional embeddings are of.
        interpolation: how positional embeddings are resized, 'bicubic' or 'bilinear'.
    """

    name: ClassVar[Tower] = "image"
    norm_names: ClassVar[Mapping[Norm, str]]
    prefix: int = 1
    default_residual: str = "cls"
    grid_size: tuple[int, int]

    def __init__(self, interpolation: str = "bicubic") -> None:
        super().__init__()
        self.interpolation = interpolation
        self.held_positions = HeldPositions()

    @property
    @abstractmethod
    def blocks(self) -> Sequence[Block]:
        """The transformer's blocks."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Width of the tokens between the blocks."""

    @property
    @abstractmethod
    def patch_size(self) -> int:
        """Side of a patch in pixels."""

    @property
    @abstractmethod
    def embed_dim(self) -> int:
        """Width of the embeddings shared with the text tower."""

    @abstractmethod
    def embed(self, images: Tensor, adapter: Adapter | None = None) -> Tensor:
        """Normalised images [B, 3, H, W] -> tokens before the first block [B, prefix + patches, width]."""

    @abstractmethod
    def project(self, tokens: Tensor, adapter: Adapter | None = None) -> Tensor:
        """What follows the last block, for every token alone: [..., width] -> [..., embed_dim]."""

    @abstractmethod
    def pool(self, tokens: Tensor, adapter: Adapter | None = None) -> Tensor:
        """What follows the last block, for images: tokens [B, prefix + patches, width] -> [B, embed_dim]."""

    @abstractmethod
    def own_parameters(self, layer: int, of_block: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parameters of a block by the names that they have in this tower.

        Args:
            layer: index of the block, from 0.
            of_block: by open_clip's names in a block, such as 'attn.in_proj_weight'.
        """

    def rotation(self, grid: tuple[int, int]) -> Turn | None:
        """Rotary positions of a grid of patches; None in towers without."""
        del grid
        return None

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def grid_of(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches of an image.

        Raises:
            ValueError: if a side is no positive multiple of the patch size.
        """
        patch = self.patch_size
        if height < patch or width < patch or height % patch or width % patch:
            raise ValueError(
                f"the image tower takes images whose sides are multiples of its patch of {patch} pixels, "
                f"got {height} x {width}; resize the image first"
            )
        return height // patch, width // patch

    def missing_norms(self) -> list[Norm]:
        """The norms outside the blocks that this tower has not, such as SigLIP's and CLIPA's before the first block."""
        return [norm for norm, name in self.norm_names.items() if isinstance(self.get_submodule(name), nn.Identity)]

    def settle(self) -> None:
        """Hold resized positions without comparing the parameter, until :meth:`forget`."""
        self.held_positions.settle()

    def forget(self) -> None:
        """Drop the resized positions that are held."""
        self.held_positions.forget()

    def forward(
        self,
        images: Tensor,
        collect: Sequence[int] = (),
        residual: str | None = None,
        adapter: Adapter | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Dense tokens and the outputs of inner blocks (docs/hclip.md, CLIP for dense prediction).

        Args:
            images: normalised images [B, 3, H, W], sides multiples of the patch.
            collect: indices of blocks (from 0) whose outputs are wanted; of the last, the dense tokens before
                their projection.
            residual: see :func:`~hclip_mmseg.clip.attention.run_dense_block`; None: ``default_residual``.
            adapter: what changes the tower, where it is not folded into it; None for the tower as it is.

        Returns:
            projected tokens [B, prefix + patches, embed_dim] and, in the order of ``collect``, block outputs
            [B, prefix + patches, width].
        """
        last, grid = self.layers - 1, self.grid_of(*images.shape[-2:])
        residual = self.checked_residual(residual)
        x, states = self._run_blocks(images, last, collect, adapter)
        projections = AdaptedTower(self, adapter).projections(last)
        if residual == "block":
            tokens = run_block(self.blocks[last], x, projections, turn=self.rotation(grid))
        else:
            tokens = run_dense_block(self.blocks[last], x, projections, residual)
        if adapter is not None:
            tokens = adapter.side("image", [*states.values(), tokens])
        states[last] = tokens
        return self.project(tokens, adapter), [states[index] for index in collect]

    def checked_residual(self, residual: str | None) -> str:
        """The form of the last block that is meant.

        Raises:
            ValueError: if this tower has no CLS token to add.
        """
        if residual == "cls" and not self.prefix:
            raise ValueError(
                "residual='cls' adds the CLS token, which this image tower has not: leave it out for "
                f"{self.default_residual!r}, or take 'own', 'none' or 'value'"
            )
        return self.default_residual if residual is None else residual

    def encode_image(self, images: Tensor, adapter: Adapter | None = None) -> Tensor:
        """CLIP's own image embedding [B, embed_dim]: all blocks with attention, pooled as CLIP does."""
        x, states = self._run_blocks(images, self.layers, (), adapter)
        if adapter is not None:
            x = adapter.side("image", list(states.values()))
        return self.pool(x, adapter)

    def _run_blocks(
        self, images: Tensor, count: int, collect: Sequence[int], adapter: Adapter | None
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Tokens after the first ``count`` blocks, and after each in ``collect``, or after all for an adapter."""
        states: dict[int, Tensor] = {}
        adapted, turn = AdaptedTower(self, adapter), self.rotation(self.grid_of(*images.shape[-2:]))
        x = self.embed(images, adapter)
        for index, block in enumerate(self.blocks[:count]):
            x = run_block(block, x, adapted.projections(index), turn=turn)
            if adapter is not None or index in collect:
                states[index] = x
        return x, states
