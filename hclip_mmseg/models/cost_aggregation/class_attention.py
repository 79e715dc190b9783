"""Aggregation over classes: linear attention between the classes of one place (CAT-Seg, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def positive(x: Tensor, training: bool) -> Tensor:
    """elu(x) + 1, the kernel of linear attention; ``x`` is overwritten.

    In inference a CPU is faster at the same as exp(min(x, 0)) + max(x, 0). In training the rounding is one and the same
    with gradients and without, where chunks are computed again, and in compiled steps.
    """
    if training or x.requires_grad or x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.elu(x, inplace=True) + 1
    return x.clamp(max=0).exp_().add_(x.clamp_(min=0))


class LinearClassAttention(nn.Module):
    """Attention with the kernel elu + 1 over the classes; q and k also see the text, v does not.

    Args:
        dim: width of the cost embedding.
        guidance_dim: width of the text guidance, 0 for none.
        heads: number of heads.
    """

    def __init__(self, dim: int, guidance_dim: int, heads: int) -> None:
        super().__init__()
        self.dim, self.heads = dim, heads
        self.q = nn.Linear(dim + guidance_dim, dim)
        self.k = nn.Linear(dim + guidance_dim, dim)
        self.v = nn.Linear(dim, dim)

    def _guided(self, layer: nn.Linear, x: Tensor, guidance: Tensor | None) -> Tensor:
        """W [x; g] + b as W_x x + (W_g g + b): the guidance is the same at every place."""
        plain = F.linear(x, layer.weight[:, : self.dim])
        shared = layer.bias if guidance is None else F.linear(guidance, layer.weight[:, self.dim :], layer.bias)
        return plain + (shared if guidance is None else shared.unsqueeze(2))

    def _heads(self, x: Tensor) -> Tensor:
        """[B, T, places, dim] -> [B, places, heads, T, dim / heads]."""
        return x.unflatten(-1, (self.heads, -1)).permute(0, 2, 3, 1, 4)

    def forward(
        self,
        x: Tensor,
        guidance: Tensor | None,
        padding: Tensor | None = None,
        padding_guidance: Tensor | None = None,
        multiplicity: int = 0,
    ) -> Tensor:
        """Attends over the classes of every place.

        Linear attention only sums over its keys, so a padding token that stands ``multiplicity`` times
        adds ``multiplicity`` times its term; its own output is never needed.

        Args:
            x: [B, T, places, dim], normalised.
            guidance: text guidance [B, T, guidance_dim], or None.
            padding: [1, 1, 1, dim], normalised, or None.
            padding_guidance: [1, 1, guidance_dim], or None.

        Returns:
            [B, T, places, dim].
        """
        q = self._heads(positive(self._guided(self.q, x, guidance), self.training))
        k = self._heads(positive(self._guided(self.k, x, guidance), self.training))
        v = self._heads(self.v(x))
        context = k.transpose(-1, -2) @ v
        total = k.sum(dim=-2)
        if padding is not None and multiplicity > 0:
            pad_k = self._heads(positive(self._guided(self.k, padding, padding_guidance), self.training))
            pad_v = self._heads(self.v(padding))
            context = context + multiplicity * (pad_k.transpose(-1, -2) @ pad_v)
            total = total + multiplicity * pad_k.sum(dim=-2)
        elif padding is not None and self.training:
            # several processes wait for a gradient of each parameter, be it zero
            unused = [part.sum() for part in (padding, padding_guidance) if part is not None]
            total = total + 0 * sum(unused)
        mixed = (q @ context) / ((q @ total.unsqueeze(-1)) + 1e-6)
        return mixed.permute(0, 3, 1, 2, 4).flatten(-2)


class ClassAggregation(nn.Module):
    """Class attention and MLP at pooled places, resized back and added.

    The published model runs it at a fixed length: where there are fewer classes, one learnable token
    (with one learnable guidance) stands for each missing one.

    Args:
        dim, guidance_dim, heads: see :class:`LinearClassAttention`.
        length: the fixed number of classes; 0: as many as there are, as in SED.
        pooling: side of the average pooling in training; none in inference.
        mlp_ratio: inner width of the MLP over ``dim``.
    """

    def __init__(
        self,
        dim: int,
        guidance_dim: int,
        heads: int,
        length: int = 256,
        pooling: int = 2,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.length, self.pooling = length, pooling
        self.attention = LinearClassAttention(dim, guidance_dim, heads)
        hidden = int(dim * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim))
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.padding_token = nn.Parameter(torch.zeros(1, 1, dim)) if length else None
        self.padding_guidance = nn.Parameter(torch.zeros(1, 1, guidance_dim)) if length and guidance_dim else None

    def aggregate(self, x: Tensor, guidance: Tensor | None) -> Tensor:
        """[B, T, places, dim] -> the same shape: attention over T and MLP, each with its residual."""
        attended = self.attention(
            self.norm1(x),
            guidance,
            padding=None if self.padding_token is None else self.norm1(self.padding_token).unsqueeze(2),
            padding_guidance=self.padding_guidance,
            multiplicity=max(self.length - x.shape[1], 0),
        )
        x = x + attended
        return x + self.mlp(self.norm2(x))

    def forward(self, x: Tensor, guidance: Tensor | None, classes_at_once: int | None = None) -> Tensor:
        """Aggregates over classes.

        Args:
            x: [B, T, H, W, dim].
            guidance: text guidance [B, T, guidance_dim], or None.
            classes_at_once: bounds the memory where there is neither pooling nor a gradient: as many places are
                computed at a time as so many classes' maps have, since places do not see each other. None for all.

        Returns:
            [B, T, H, W, dim].
        """
        batch, classes, height, width, dim = x.shape
        pooling = self.pooling if self.training else 1
        if pooling == 1:
            places = x.flatten(2, 3)
            if classes_at_once is None or torch.is_grad_enabled():
                return x + self.aggregate(places, guidance).view_as(x)
            at_once = max(classes_at_once * height * width // classes, 1)
            result = torch.empty_like(places)
            for old, new in zip(places.split(at_once, dim=2), result.split(at_once, dim=2), strict=True):
                new.copy_(self.aggregate(old, guidance).add_(old))
            return result.view_as(x)
        pooled = _pooled(x.flatten(0, 1), pooling)
        rows, columns = pooled.shape[1:3]
        places = self.aggregate(pooled.reshape(batch, classes, rows * columns, dim), guidance)
        return _with_resized(x, places.view(batch, classes, rows, columns, dim))


def _pooled(maps: Tensor, side: int) -> Tensor:
    """Means of squares of places: [N, H, W, dim] -> [N, H / side, W / side, dim], rounded down."""
    height, width = maps.shape[1:3]
    if maps.is_cuda and height % side == width % side == 0:  # in a quarter of the time of its pooling
        return maps.unflatten(2, (-1, side)).unflatten(1, (-1, side)).mean(dim=(2, 4))
    return F.avg_pool2d(maps.permute(0, 3, 1, 2), side).permute(0, 2, 3, 1)


def _with_resized(x: Tensor, small: Tensor) -> Tensor:
    """x [B, T, H, W, dim] plus the maps [B, T, h, w, dim] resized bilinearly to its size, corners aligned."""
    batch, classes, height, width, dim = x.shape
    if x.is_cuda:  # a product with the weights of each place, and the sum with it
        count = small.shape[2] * small.shape[3]
        unit = torch.eye(count, device=x.device).view(1, count, *small.shape[2:4])
        weights = F.interpolate(unit, size=(height, width), mode="bilinear", align_corners=True)
        weights = weights.view(count, -1).T.to(x.dtype).expand(batch * classes, -1, -1)
        places = small.reshape(batch * classes, count, dim)
        return torch.baddbmm(x.reshape(batch * classes, -1, dim), weights, places).view(x.shape).to(x.dtype)
    maps = small.flatten(0, 1).permute(0, 3, 1, 2)
    resized = F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=True)
    # autocast resizes in fp32; all that follows would be fp32 too
    return x + resized.permute(0, 2, 3, 1).reshape(x.shape).to(x.dtype)
