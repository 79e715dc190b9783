"""LPOSS: scores spread over a graph of patches, and over one of pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from scipy import sparse
from torch import Tensor, nn

from hclip_mmseg.training_free.dense import ImageContext
from hclip_mmseg.training_free.timm_features import CLIP_MEAN, CLIP_STD
from hclip_mmseg.training_free.windows import WindowScores

DENSE_BELOW = 8
"""Up to so many times the neighbours of a patch, W is solved as a dense matrix: it is hardly sparse then."""
MOST_ALPHA_IN_SINGLE = 0.999
"""Above, the equation's condition number, 2 / (1 - alpha), is too large for factors in single precision."""


@MODELS.register_module()
class LabelPropagation(nn.Module):
    """Spreads the scores of the patches of all windows of an image together (LPOSS, CVPR 2025, section 3.2).

    F solves (I - alpha D^-1/2 W D^-1/2) F = Y. W joins each patch with the most alike ones by
    max(similarity, 0)^power exp(-decay distance), in both directions; D are the sums of its rows. Solved for all names
    at once: by Cholesky factors where W is small, else by conjugate gradients on the sparse matrix.

    Args:
        features: config of the model whose values in the last block are compared, such as
            ``dict(type='TimmPatchFeatures', model='vit_base_patch16_224.dino', weights='dino.pth')``.
        neighbours: of each patch, itself included, or all where there are fewer.
        power: of the similarities.
        decay: of the distance between the patches' middles, for each pixel.
        alpha: how much is spread, 0 to below 1.
        tolerance, steps: of the conjugate gradients; the factors need none.
    """

    part: ClassVar[str] = "propagation"

    def __init__(
        self,
        features: Mapping[str, Any],
        neighbours: int = 400,
        power: float = 3.0,
        decay: float = 0.01,
        alpha: float = 0.95,
        tolerance: float = 1e-6,
        steps: int = 50,
    ) -> None:
        super().__init__()
        check_alpha(alpha)
        self.features = MODELS.build(dict(features))
        self.neighbours, self.power, self.decay, self.alpha = neighbours, power, decay, alpha
        self.tolerance, self.steps = tolerance, steps

    def forward(self, scores: WindowScores, context: ImageContext) -> WindowScores:
        """Scores of all windows [n, names, rows, columns] -> the same, spread."""
        own = scores.scores
        grid, windows = (own.shape[-2], own.shape[-1]), scores.windows
        pixels = windows.cut(context.image)
        values = torch.cat([self.features.last_qkv(part, grid)[2] for part in pixels.split(8)])
        unit = F.normalize(values.flatten(0, 1).float(), dim=-1)
        side = [windows.padded[axis] / grid[axis] for axis in (0, 1)]
        down, right = (side[axis] * (torch.arange(grid[axis]) + 0.5) for axis in (0, 1))
        middles = torch.cat(
            [
                torch.cartesian_prod(down + (top - windows.margin[0]), right + (left - windows.margin[1]))
                for top, left in windows.places
            ]
        )
        right = own.flatten(2).transpose(1, 2).flatten(0, 1)
        if context.kept is not None:
            graph = joined_weights(unit, middles.to(unit.device), self.neighbours, self.power, self.decay)
            context.keep("graph of patches", graph[: grid[0] * grid[1], : grid[0] * grid[1]], grid)
        spread = self.spread(unit, middles.to(unit.device), right)
        return WindowScores(spread.unflatten(0, (len(own), -1)).transpose(1, 2).reshape(own.shape), windows)

    def spread(self, unit: Tensor, middles: Tensor, scores: Tensor) -> Tensor:
        """Scores [patches, names] spread over the graph of patches.

        Args:
            unit: what patches are compared by, [patches, C] of unit norm.
            middles: of the patches, [patches, 2] in pixels.
            scores: [patches, names].
        """
        settings = (self.neighbours, self.power, self.decay)
        if len(unit) <= DENSE_BELOW * self.neighbours and self.alpha <= MOST_ALPHA_IN_SINGLE:
            return solve_dense(joined_weights(unit, middles, *settings), scores, self.alpha)
        return solve(patch_graph(unit, middles, *settings), scores, self.alpha, self.tolerance, self.steps)


@MODELS.register_module()
class PixelPropagation(nn.Module):
    """Spreads score maps over the pixels of an image (LPOSS+, section 3.3).

    As :class:`LabelPropagation`, with W between the pixels of a square around each: exp(-distance in Lab / tau), the
    three channels divided by 100, 128 and 128. It is done at the protocol's size.

    Args:
        side: of the square in pixels, odd.
        tau: of the colours.
        alpha: how much is spread, 0 to below 1.
        smallest: weights below are left out, which makes the matrix sparser.
        tolerance, steps: of the conjugate gradients.
        names_at_once: whose maps are spread together; bounds the memory.
        mean, std: of the images that come, in 0..255.
    """

    part: ClassVar[str] = "smoothing"
    at_protocol_size = True

    def __init__(
        self,
        side: int = 13,
        tau: float = 0.01,
        alpha: float = 0.95,
        smallest: float = 1e-7,
        tolerance: float = 1e-6,
        steps: int = 50,
        names_at_once: int = 32,
        mean: Sequence[float] = CLIP_MEAN,
        std: Sequence[float] = CLIP_STD,
    ) -> None:
        super().__init__()
        check_alpha(alpha)
        if side < 1 or side % 2 == 0:
            raise ValueError(f"PixelPropagation.side must be an odd number of pixels, not {side!r}")
        self.side, self.tau, self.alpha, self.smallest = side, tau, alpha, smallest
        self.tolerance, self.steps, self.names_at_once = tolerance, steps, names_at_once
        self.mean, self.std = tuple(mean), tuple(std)

    def prepared(self, image: Tensor) -> Callable[[Tensor], Tensor]:
        """What spreads score maps [C, H, W] over a normalised image [3, H, W]."""
        graph = self.graph(image)

        def spread(maps: Tensor) -> Tensor:
            parts = [
                solve(graph, part.flatten(1).T, self.alpha, self.tolerance, self.steps).T.reshape(part.shape)
                for part in maps.split(self.names_at_once)
            ]
            return torch.cat(parts)

        return spread

    def graph(self, image: Tensor) -> sparse.csr_array:
        """W, [pixels, pixels], of a normalised image [3, H, W]."""
        mean, std = (torch.tensor(x, device=image.device).view(3, 1, 1) for x in (self.mean, self.std))
        rgb = ((image * std + mean) / 255).clamp(0, 1).permute(1, 2, 0).float().cpu().numpy()
        lab = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2LAB) / np.array([100, 128, 128], np.float32)
        height, width = lab.shape[:2]
        number = np.arange(height * width, dtype=np.int32).reshape(height, width)
        reach, parts = self.side // 2, []
        for down in range(reach + 1):
            for right in range(-reach, reach + 1):
                if (down, right) <= (0, 0):  # each pair once
                    continue
                here = slice(0, max(height - down, 0)), slice(max(-right, 0), width - max(right, 0))
                there = slice(down, height), slice(max(right, 0), width + min(right, 0))
                weights = np.exp(-np.linalg.norm(lab[here] - lab[there], axis=-1) / self.tau)
                kept = weights >= self.smallest
                parts.append((weights[kept], number[here][kept], number[there][kept]))
        if not parts:
            return sparse.csr_array((height * width, height * width), dtype=np.float32)
        data, first, second = (np.concatenate(of_all) for of_all in zip(*parts, strict=True))
        one_way = sparse.coo_array((data, (first, second)), shape=(height * width,) * 2).tocsr()
        return sparse.csr_array(one_way + one_way.T)


def patch_graph(
    features: Tensor, middles: Tensor, neighbours: int, power: float, decay: float, tile: int = 2048
) -> sparse.csr_array:
    """W of :class:`LabelPropagation`, [patches, patches].

    Args:
        features: [patches, C] of unit norm.
        middles: [patches, 2] in pixels.
        neighbours, power, decay: see there.
        tile: rows of similarities that are held at once.
    """
    count, nearest = len(features), min(neighbours, len(features))
    weights, columns = [], []
    for start in range(0, count, tile):
        similar, index = (features[start : start + tile] @ features.T).topk(nearest, dim=1)
        far = (middles[index] - middles[start : start + tile, None]).norm(dim=-1)
        weights.append((similar.clamp(min=0) ** power * torch.exp(-decay * far)).cpu())
        columns.append(index.cpu())
    rows = np.repeat(np.arange(count), nearest)
    data, joined = torch.cat(weights).flatten().numpy(), torch.cat(columns).flatten().numpy()
    one_way = sparse.coo_array((data, (rows, joined)), shape=(count, count)).tocsr()
    return sparse.csr_array(one_way + one_way.T)


def joined_weights(features: Tensor, middles: Tensor, neighbours: int, power: float, decay: float) -> Tensor:
    """:func:`patch_graph` as a dense matrix [patches, patches]; of patches equally alike at the last place all join."""
    similar = features @ features.T
    count = len(features)
    if neighbours < count:
        chosen = similar >= _kth_smallest(similar, count - neighbours)[:, None]
    weights = similar.clamp_(min=0).pow_(power).mul_(torch.cdist(middles, middles).mul_(-decay).exp_())
    if neighbours < count:
        weights.mul_(chosen)
    return weights + weights.T


def _kth_smallest(rows: Tensor, place: int) -> Tensor:
    """The number that would be at a place, from 0, of every sorted row."""
    if rows.device.type == "cpu":  # a sixth of the time of torch's
        return torch.from_numpy(np.partition(rows.numpy(), place, axis=1)[:, place])
    return rows.kthvalue(place + 1, dim=1).values


def solve_dense(weights: Tensor, scores: Tensor, alpha: float) -> Tensor:
    """:func:`solve` of a dense W [nodes, nodes], by its Cholesky factors."""
    weights.fill_diagonal_(0)
    sums = weights.sum(dim=1)
    root = torch.where(sums > 0, sums, torch.ones_like(sums)).rsqrt()
    matrix = weights.mul_(root[:, None]).mul_(-alpha * root)
    matrix.diagonal().add_(1)
    return torch.cholesky_solve(scores.to(matrix.dtype), torch.linalg.cholesky(matrix)).to(scores.dtype)


def check_alpha(alpha: float) -> None:
    """Raises a ValueError unless alpha is from 0 to below 1, where the equation has one solution."""
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha says how much is spread, from 0 to below 1, not {alpha!r}")


def solve(graph: sparse.csr_array, scores: Tensor, alpha: float, tolerance: float, steps: int) -> Tensor:
    """Scores spread over a graph, by conjugate gradients, each name until its residual is small enough.

    Args:
        graph: W, symmetric and not negative, [nodes, nodes]; its diagonal does not count.
        scores: Y, [nodes, names].
        alpha: how much is spread.
        tolerance: of a name's residual, as a part of the norm of its scores.
        steps: at most.

    Returns:
        F of (I - alpha D^-1/2 W D^-1/2) F = Y, [nodes, names].
    """
    joined = (graph - sparse.diags_array(graph.diagonal())).tocsr().astype(np.float32)
    sums = np.asarray(joined.sum(axis=1)).ravel()
    root = np.where(sums > 0, sums, 1) ** -0.5
    joined.data *= alpha * np.repeat(root, np.diff(joined.indptr)) * root[joined.indices]
    result = scores.float().cpu().numpy().copy()
    squared = np.einsum("ij,ij->j", result, result)
    limit = tolerance**2 * squared
    columns = np.flatnonzero(squared > 0)
    residual = np.ascontiguousarray(result[:, columns])
    result[:, columns] = 0
    found, direction, squared, limit = np.zeros_like(residual), residual.copy(), squared[columns], limit[columns]
    for _ in range(steps):
        unsolved = squared > limit
        if not unsolved.any():
            break
        if 2 * unsolved.sum() < len(columns):  # copied seldom, as it costs as much as a step
            result[:, columns] = found
            columns, squared, limit = columns[unsolved], squared[unsolved], limit[unsolved]
            found, residual, direction = (np.ascontiguousarray(x[:, unsolved]) for x in (found, residual, direction))
        image = direction - joined @ direction
        length = squared / np.maximum(np.einsum("ij,ij->j", direction, image), np.finfo(np.float32).tiny)
        found += length * direction
        residual -= length * image
        after = np.einsum("ij,ij->j", residual, residual)
        direction *= after / np.maximum(squared, np.finfo(np.float32).tiny)
        direction += residual
        squared = after
    result[:, columns] = found
    return torch.from_numpy(result).to(scores.device)
