"""SC-CLIP: anomalous patches mended, and tokens mixed by what middle blocks find alike."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from sklearn.neighbors import LocalOutlierFactor
from torch import Tensor

from hclip_mmseg.clip import ImageTower
from hclip_mmseg.training_free.dense import DenseMethod, DenseTokens, ImageContext, Trunk, layers_of
from hclip_mmseg.training_free.regions import squared_distances

REACHABILITY = ("own", "neighbours")


@MODELS.register_module()
class SelfCalibration(DenseMethod):
    """CLIP's last block calibrated by its own middle blocks (SC-CLIP, section 3).

    1. Patches before the last block that stand out (local outlier factor, squared distances) become the mean of those
       of their 8 neighbours that do not; where all do, they stay.
    2. C are the cosines of the patches after the block ``similar``, mended too. The patches become their mean weighted
       by C where it is at least ``threshold``.
    3. The last block gives out(A v), A half softmax(3 (C - mean C)) over its entries that are not negative and half
       softmax(s k k^T), of the patches; plus ``cls_weight`` times the CLS token before the block; then the mean
       weighted by the cosines after the block ``aggregate`` where they are at least ``threshold``.
    4. The sum of the outputs of the blocks ``collected`` goes through 3 as well and is added.

    Args:
        similar, aggregate, collected: blocks from 0, or negative from behind the last; as published of 12.
        neighbours: of the outlier factor.
        contamination: part of the patches that are taken to stand out, 0 to 0.5.
        threshold: of the cosines.
        scale: of C in its softmax.
        cls_weight: of the CLS token.
        reachability: what bounds the distance to a neighbour from below in the outlier factor: 'own', the patch's own
            distance to its farthest neighbour, as in the published code, or 'neighbours', the neighbour's, as the
            factor is defined (Breunig et al., 2000; scikit-learn's).

    Raises:
        ValueError: on another ``reachability``.
    """

    def __init__(
        self,
        similar: int = -4,
        aggregate: int = -9,
        collected: Sequence[int] = (-9, -8, -7, -6, -5, -4, -3),
        neighbours: int = 30,
        contamination: float = 0.05,
        threshold: float = 0.4,
        scale: float = 3.0,
        cls_weight: float = 0.3,
        reachability: str = "own",
    ) -> None:
        super().__init__()
        if reachability not in REACHABILITY:
            raise ValueError(f"reachability must be one of {', '.join(REACHABILITY)}, not {reachability!r}")
        self.layers = (similar, aggregate, *collected)
        self.neighbours, self.contamination, self.threshold = neighbours, contamination, threshold
        self.scale, self.cls_weight, self.reachability = scale, cls_weight, reachability

    def check(self, tower: ImageTower) -> None:
        """Raises a ValueError if the tower has no such blocks."""
        layers_of(self.layers, tower.layers, type(self).__name__)

    def forward(self, trunk: Trunk, pixels: Tensor, context: ImageContext) -> DenseTokens:
        """See :class:`DenseMethod`."""
        similar, aggregate, *collected = layers_of(self.layers, trunk.tower.layers, type(self).__name__)
        grid = trunk.tower.grid_of(*pixels.shape[-2:])
        x, kept = trunk.run(pixels, (similar, aggregate, *collected))
        outliers = torch.stack([self.outliers(own) for own in x[:, 1:]])
        cosines = cosines_of(mended(kept[similar][:, 1:], outliers, grid))
        patches = self.weighted(cosines) @ mended(x[:, 1:], outliers, grid)
        by = self.weighted(cosines_of(kept[aggregate][:, 1:]))
        total = torch.stack([kept[layer] for layer in collected]).sum(dim=0)
        tokens, weights = self._last(trunk, patches, x[:, :1], cosines)
        context.keep("attention", weights, grid)
        context.keep("similarity of a middle block", cosines, grid)
        tokens = tokens + self._last(trunk, total[:, 1:], total[:, :1], cosines)[0]
        return DenseTokens(by @ tokens, grid)

    def outliers(self, patches: Tensor) -> Tensor:
        """Which patches [patches, C] stand out, bool [patches]."""
        count = len(patches)
        if count < 3 or not self.contamination:
            return torch.zeros(count, dtype=torch.bool, device=patches.device)
        neighbours = min(self.neighbours, count - 1)
        if self.reachability == "own":
            factor = own_outlier_factor(patches.float(), neighbours)
            return factor > factor.quantile(1 - self.contamination)
        finder = LocalOutlierFactor(n_neighbors=neighbours, contamination=self.contamination, metric="sqeuclidean")
        found = finder.fit_predict(patches.float().cpu().numpy()) < 0
        return torch.from_numpy(found).to(patches.device)

    def weighted(self, cosines: Tensor) -> Tensor:
        """Cosines from the threshold on, rows divided by their sum."""
        kept = cosines.masked_fill(cosines < self.threshold, 0)
        return kept / kept.sum(dim=-1, keepdim=True)

    def _last(self, trunk: Trunk, patches: Tensor, cls: Tensor, cosines: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of the patches, and A, [n, heads, patches, patches]."""
        heads = trunk.tower.blocks[trunk.last].attn.num_heads
        _, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in trunk.qkv(patches, trunk.last))
        scores = self.scale * (cosines - cosines.mean(dim=(1, 2), keepdim=True))
        alike = scores.masked_fill(scores < 0, -torch.inf).softmax(dim=-1)[:, None]
        own = (k @ k.mT * k.shape[-1] ** -0.5).softmax(dim=-1)
        weights = (alike + own) / 2
        mixed = (weights @ v).transpose(1, 2).flatten(2)
        return trunk.out(mixed) + self.cls_weight * cls, weights


def own_outlier_factor(patches: Tensor, neighbours: int) -> Tensor:
    """The outlier factor of SC-CLIP's code: how much farther a patch's neighbours reach than theirs do, on average.

    Distances are squared. The distance to each neighbour is at least that to the patch's own farthest one, so that all
    of a patch are this one; the factor is the mean over the neighbours of the patch's over theirs.

    Args:
        patches: [patches, C].
        neighbours: at most patches - 1.

    Returns:
        [patches].
    """
    squared = squared_distances(patches, patches).fill_diagonal_(-1)
    nearest, index = squared.topk(neighbours + 1, largest=False)  # the patch itself is first
    reach = nearest[:, -1].clamp(min=torch.finfo(patches.dtype).tiny)  # equal patches are no outliers
    return (reach[:, None] / reach[index[:, 1:]]).mean(dim=1)


def cosines_of(patches: Tensor) -> Tensor:
    """Cosines of all pairs of patches [n, patches, C] -> [n, patches, patches]."""
    unit = F.normalize(patches, dim=-1)
    return unit @ unit.mT


def mended(patches: Tensor, outliers: Tensor, grid: tuple[int, int]) -> Tensor:
    """Patches with those that stand out replaced by the mean of their neighbours that do not.

    Args:
        patches: [n, patches, C].
        outliers: bool [n, patches].
        grid: rows and columns of patches.

    Returns:
        [n, patches, C].
    """
    kept = (~outliers)[..., None].to(patches.dtype)
    maps = torch.cat([patches * kept, kept], dim=-1).transpose(1, 2).unflatten(2, grid)
    around = F.avg_pool2d(maps, 3, stride=1, padding=1, divisor_override=1).flatten(2).transpose(1, 2)
    total, count = around[..., :-1], around[..., -1:]
    return torch.where(outliers[..., None] & (count > 0), total / count.clamp(min=1), patches)
