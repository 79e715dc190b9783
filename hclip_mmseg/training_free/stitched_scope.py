"""OV-Stitcher: the attention of the last blocks over the whole image instead of window by window."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from hclip_mmseg.clip import ImageTower
from hclip_mmseg.clip.attention import attend, finish_block
from hclip_mmseg.training_free.dense import DenseTokens, ImageContext, Trunk, layers_of
from hclip_mmseg.training_free.proxy_attention import resized_tokens
from hclip_mmseg.training_free.region_scope import RegionScope, merged_regions, nearest
from hclip_mmseg.training_free.regions import sampled
from hclip_mmseg.training_free.windows import Windows

Grid = tuple[int, int]


@MODELS.register_module()
class StitchedScope(RegionScope):
    """:class:`~.region_scope.RegionScope` with one attention over the whole image (OV-Stitcher, CVPR 2026 Findings).

    Windows are run apart up to their last blocks; tokens, q, k and v of these are averaged where windows overlap, the
    CLS token left out. The other model's last block runs once over the image, and its output, of unit norm, is f. Of
    CLIP the values are stitched; the spatial branch is the mean of what each block of ``layers`` makes of its stitched
    input, q, k and v; the semantic branch is of each window.

    Args:
        windows_at_once: of CLIP and of the other model.
        normed_skip: whether the skip connection of the other model's last block takes its input behind the model's
            final norm, as in the published code, whose figures depend on it; else the block is the model's own.
        kwargs: see :class:`~.region_scope.RegionScope`.
    """

    whole_image: ClassVar[bool] = True

    def __init__(self, *, windows_at_once: int = 8, normed_skip: bool = True, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.windows_at_once, self.normed_skip = windows_at_once, normed_skip

    def check(self, tower: ImageTower) -> None:
        """Raises a ValueError if the tower has no such blocks with one before them."""
        super().check(tower)
        if self.spatial and 0 in layers_of(self.layers, tower.layers, type(self).__name__):
            raise ValueError(
                "StitchedScope.layers takes blocks from the second on: the first one's input is not stitched"
            )

    def forward(self, trunk: Trunk, pixels: Tensor, context: ImageContext) -> DenseTokens:
        """See :class:`DenseMethod`; one map of the image on the other model's grid."""
        windows, own = context.windows, trunk.tower.grid_of(*pixels.shape[-2:])
        grid = self.features.grid_of(*pixels.shape[-2:])
        chunks = pixels.split(self.windows_at_once)
        parts = zip(*(self._last_block(chunk, grid) for chunk in chunks), strict=True)
        x, q, k, v = (stitched(torch.cat(part), grid, windows)[0] for part in parts)
        whole = windows.stitched_grid(grid)
        unit = F.normalize(self.features.finish_last_block(x, q, k, v), dim=-1)[0]
        numbers = torch.zeros(windows.image, dtype=torch.long, device=pixels.device)
        if self.regions is not None:
            numbers = self.regions.at(windows.image, context.metainfo).to(pixels.device)
        merged = merged_regions(unit, nearest(numbers, whole), self.merge)
        weights = self.weights(unit, merged)
        context.keep("affinity within regions", weights, whole)

        layers = layers_of(self.layers, trunk.tower.layers, type(self).__name__) if self.spatial else ()
        kept: dict[int, list[Tensor]] = {layer: [] for layer in (trunk.last, *layers)}
        for chunk in chunks:
            last, before = trunk.run(chunk, [layer - 1 for layer in layers])
            kept[trunk.last].append(last)
            for layer in layers:
                kept[layer].append(before[layer - 1])
        inputs = {layer: torch.cat(tokens) for layer, tokens in kept.items()}

        def branch(values: Tensor, at: Grid) -> Tensor:
            values = resized_tokens(values, at, whole)
            normed: Tensor = trunk.tower.ln_post(trunk.out(weights.to(values.dtype) @ values))
            return normed

        values, at = stitched(trunk.values(inputs[trunk.last])[:, 1:], own, windows)
        total = branch(values, at)
        if self.spatial:
            of_blocks = [self._block(trunk, inputs[layer], layer, own, windows) for layer in layers]
            total = total + self.spatial * branch(trunk.values(torch.stack(of_blocks).mean(dim=0)), at)
        if self.semantic:
            semantics = self._semantics(trunk, pixels, context, merged.unflatten(0, whole), own, grid)
            total = total + self.semantic * trunk.tower.ln_post(semantics)
        return DenseTokens(total, whole, normed=True)

    def _last_block(self, pixels: Tensor, grid: Grid) -> tuple[Tensor, ...]:
        """What goes past the other model's last block in some windows, and its q, k and v, each [n, patches, C]."""
        x, *qkv = self.features.last_block(pixels, grid)
        return (self.features.final_norm(x) if self.normed_skip else x, *qkv)

    @staticmethod
    def _block(trunk: Trunk, x: Tensor, layer: int, own: Grid, windows: Windows) -> Tensor:
        """What a block makes of stitched patches, [1, patches, width]."""
        block = trunk.tower.blocks[layer]
        x, q, k, v = (stitched(part[:, 1:], own, windows)[0] for part in (x, *trunk.qkv(x, layer)))
        return finish_block(block, x, attend(q, k, v, block.attn.num_heads), trunk.projections(layer))

    def _semantics(
        self, trunk: Trunk, pixels: Tensor, context: ImageContext, regions: Tensor, own: Grid, grid: Grid
    ) -> Tensor:
        """The semantic branch of all windows, stitched before the last norm, [1, patches, width].

        Args:
            regions: of the image's patches, merged, [rows, columns].
        """
        windows = context.windows
        cut = windows.cut(sampled(regions, windows.image)[None])[:, 0]
        found = [
            self._semantic(trunk, window, nearest(numbers, own), own, grid)
            for window, numbers in zip(pixels, cut, strict=True)
        ]
        return stitched(torch.stack(found), grid, windows)[0]


def stitched(tokens: Tensor, grid: Grid, windows: Windows) -> tuple[Tensor, Grid]:
    """Tokens of windows [n, patches, C] -> of the image [1, patches, C], and its rows and columns of patches."""
    maps = windows.stitched(tokens.transpose(1, 2).unflatten(2, grid))
    return maps.flatten(1).T[None], (maps.shape[-2], maps.shape[-1])
