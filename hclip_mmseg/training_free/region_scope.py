"""CorrCLIP: attention within regions, and three branches of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from hclip_mmseg.clip import ImageTower
from hclip_mmseg.clip.attention import attend, finish_block
from hclip_mmseg.training_free.dense import DenseMethod, DenseTokens, ImageContext, Trunk, layers_of
from hclip_mmseg.training_free.proxy_attention import resized_tokens
from hclip_mmseg.training_free.regions import sampled


@MODELS.register_module()
class RegionScope(DenseMethod):
    """CLIP's values mixed within regions, by another model's similarities (CorrCLIP, ICCV 2025, section 3).

    The other model's f is q + k of its last block, of unit norm. Regions of a window whose mean f are alike are one.
    Patches of a region attend to its patches; where one of two is in no region, they attend to each other if f f^T is
    above its mean. A = softmax(scale f f^T) over what is allowed. Three branches are added behind the last norm:

    - main: out(A v), v of the last block;
    - spatial: the same for the mean of the outputs of ``layers``;
    - semantic: a copy of the CLS token for each region, and one for what is in none, which from the first block on sees
      the CLS token and the patches of its region; at the end every patch of the region has it. CLIP's patches are of
      the region that they begin in, and the other model's have the copy of CLIP's patch that they begin in.

    Args:
        features: config of the other model, such as ``dict(type='TimmPatchFeatures', model='vit_base_patch8_224.dino',
            weights='dino.pth')``.
        regions: config of the regions, ``dict(type='RegionFolder', folder=...)``; None: no patch is in any.
        scale: of the similarities.
        merge: regions become one where their means' cosine is at most this below the largest cosine of two means or of
            one with itself; 0 for none but equal ones.
        spatial, semantic: weights of the branches; 0 leaves one out.
        layers: of the spatial branch, from 0 or negative from behind the last; 6 to 10 of 12 as published.
    """

    def __init__(
        self,
        features: Mapping[str, Any],
        regions: Mapping[str, Any] | None = None,
        scale: float = 4.0,
        merge: float = 0.2,
        spatial: float = 1.0,
        semantic: float = 0.5,
        layers: Sequence[int] = (-7, -6, -5, -4, -3),
    ) -> None:
        super().__init__()
        self.features = MODELS.build(dict(features))
        self.regions = None if regions is None else MODELS.build(dict(regions))
        self.scale, self.merge, self.spatial, self.semantic = scale, merge, spatial, semantic
        self.layers = tuple(layers)

    def check(self, tower: ImageTower) -> None:
        """Raises a ValueError if the tower has no such blocks."""
        if self.spatial:
            layers_of(self.layers, tower.layers, type(self).__name__)

    def forward(self, trunk: Trunk, pixels: Tensor, context: ImageContext) -> DenseTokens:
        """See :class:`DenseMethod`; on the other model's grid."""
        own, grid = trunk.tower.grid_of(*pixels.shape[-2:]), self.features.grid_of(*pixels.shape[-2:])
        q, k, _ = self.features.last_qkv(pixels, grid)
        unit = F.normalize((q + k).float(), dim=-1)
        numbers = self._numbers(pixels, context)
        fine = [nearest(window, grid) for window in numbers]
        merged = [merged_regions(f, ids, self.merge) for f, ids in zip(unit, fine, strict=True)]
        weights = torch.stack([self.weights(f, ids) for f, ids in zip(unit, merged, strict=True)])
        context.keep("affinity within regions", weights, grid)
        layers = layers_of(self.layers, trunk.tower.layers, type(self).__name__) if self.spatial else ()
        x, kept = trunk.run(pixels, layers)
        post = trunk.tower.ln_post

        def branch(tokens: Tensor) -> Tensor:
            values = resized_tokens(trunk.values(tokens[:, 1:]), own, grid)
            normed: Tensor = post(trunk.out(weights.to(values.dtype) @ values))
            return normed

        total = branch(x)
        if self.spatial:
            total = total + self.spatial * branch(torch.stack([kept[layer] for layer in layers]).mean(dim=0))
        if self.semantic:
            coarse = [nearest(ids.unflatten(0, grid), own) for ids in merged]
            found = [self._semantic(trunk, *part, own, grid) for part in zip(pixels, coarse, strict=True)]
            total = total + self.semantic * post(torch.stack(found))
        return DenseTokens(total, grid, normed=True)

    def weights(self, unit: Tensor, regions: Tensor) -> Tensor:
        """A of one window, [patches, patches], from f [patches, C] and the patches' regions [patches], 0 for none."""
        similar = unit @ unit.T
        nowhere = regions == 0
        allowed = (regions[:, None] == regions) & ~nowhere
        allowed |= (nowhere[:, None] | nowhere) & (similar > similar.mean())
        allowed.fill_diagonal_(True)
        return (self.scale * similar).masked_fill(~allowed, -torch.inf).softmax(dim=-1)

    def _numbers(self, pixels: Tensor, context: ImageContext) -> list[Tensor]:
        """Regions of every window's pixels [h, w], 0 for none and for padding."""
        height, width = pixels.shape[-2:]
        if self.regions is None:
            return [torch.zeros(height, width, dtype=torch.long, device=pixels.device)] * len(pixels)
        image = self.regions.at(context.windows.image, context.metainfo).to(pixels.device)
        first = context.first
        cut = context.windows.cut(image[None])[first : first + len(pixels), 0]
        return list(
            F.pad(cut, (0, max(width - cut.shape[-1], 0), 0, max(height - cut.shape[-2], 0)))[:, :height, :width]
        )

    def _semantic(
        self, trunk: Trunk, pixels: Tensor, regions: Tensor, own: tuple[int, int], grid: tuple[int, int]
    ) -> Tensor:
        """The semantic branch of one window before the last norm, [the other model's patches, width].

        Args:
            trunk: CLIP's image tower.
            pixels: [3, h, w].
            regions: of CLIP's patches [patches].
            own: rows and columns of CLIP's patches.
            grid: of the other model's.
        """
        present, regions = regions.unique(return_inverse=True)
        copies, patches = len(present), len(regions)
        x = trunk.tower.embed(pixels[None])
        sees = torch.zeros(copies + 1 + patches, copies + 1 + patches, dtype=torch.bool, device=x.device)
        sees[copies:, copies:] = True
        sees[:copies, copies] = True
        sees[:copies, copies + 1 :] = regions == torch.arange(copies, device=x.device)[:, None]
        bias = torch.zeros(sees.shape, dtype=x.dtype, device=x.device).masked_fill_(~sees, -torch.inf)[None]
        x = torch.cat([x[:, :1].expand(-1, copies, -1), x], dim=1)
        for index, block in enumerate(trunk.tower.blocks):
            q, k, v = trunk.qkv(x, index)
            x = finish_block(block, x, attend(q, k, v, block.attn.num_heads, bias=bias), trunk.projections(index))
        return x[0, nearest(regions.unflatten(0, own), grid)]


def nearest(numbers: Tensor, grid: tuple[int, int]) -> Tensor:
    """Numbers of pixels [h, w] at the first pixel of each of a grid's patches, as published, [patches]."""
    return sampled(numbers, grid).flatten()


def merged_regions(unit: Tensor, regions: Tensor, reach: float) -> Tensor:
    """Regions of alike means as one, by chains of pairs (DBSCAN with cores of one).

    Args:
        unit: f, [patches, C] of unit norm.
        regions: int64 [patches], 0 for none.
        reach: largest distance below the largest cosine.

    Returns:
        int64 [patches], from 1, 0 for none.
    """
    present, dense = regions.unique(return_inverse=True)
    named = present != 0
    if int(named.sum()) == 0:
        return torch.zeros_like(regions)
    member = F.one_hot(dense, len(present)).to(unit.dtype)
    means = F.normalize((member.T @ unit) / member.sum(dim=0)[:, None], dim=-1)[named]
    cosines = means @ means.T
    near = cosines.max() - cosines <= reach
    near.fill_diagonal_(True)
    _, cluster = connected_components(near.cpu().numpy(), directed=False)
    table = torch.zeros(len(present), dtype=torch.long, device=regions.device)
    table[named] = torch.from_numpy(cluster).long().to(regions.device) + 1
    return table[dense]
