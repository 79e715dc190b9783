"""Cost aggregation: from dense tokens and text embeddings to one score map per class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hclip_mmseg.clip import RoundedTwin
from hclip_mmseg.models import device_memory
from hclip_mmseg.models.cost_aggregation.chunks import (
    CHUNK_ON_CPU,
    SHARE,
    Chunks,
    ChunkSize,
    MapBytes,
    check_chunk,
    cut,
    fitting_chunks,
    fixed_chunks,
    joined,
    run,
    run_again_backward,
)
from hclip_mmseg.models.cost_aggregation.class_attention import ClassAggregation
from hclip_mmseg.models.cost_aggregation.cost_volume import cost_volume, most_similar_classes
from hclip_mmseg.models.cost_aggregation.decoder import CostDecoder
from hclip_mmseg.models.cost_aggregation.spatial_attention import SpatialAggregation

LEFT_OUT = -100.0
"""Logit of a class that was not among the most similar ones (docs/cat_seg.md, Cost aggregation)."""


def scores_of_all(logits: Tensor, kept: Tensor | None, classes: int) -> Tensor:
    """Logits [B, K, H, W] of the kept classes [B, K] -> of all [B, classes, H, W]; those left out score -100.

    Where ``kept`` is None the logits are those of all classes.
    """
    if kept is None:
        return logits
    scores = logits.new_full((logits.shape[0], classes, *logits.shape[-2:]), LEFT_OUT)
    return scores.scatter(1, kept[:, :, None, None].expand_as(logits), logits)


class AggregationLayer(nn.Module):
    """Spatial, then class aggregation."""

    def __init__(self, spatial: SpatialAggregation, classes: ClassAggregation) -> None:
        super().__init__()
        self.spatial = spatial
        self.classes = classes


class CostAggregator(nn.Module):
    """The network of CAT-Seg over a cost volume (CAT-Seg, section 3.2).

    Args:
        text_channels: width of dense tokens and text embeddings.
        templates: number P of prompt templates.
        dim: width of the cost embedding.
        layers, heads, window: of the aggregation.
        appearance_dim: width of the appearance guidance, 0 for none.
        text_guidance_dim: width of the text guidance, 0 for none.
        class_length: fixed length of the class attention; of more classes, the most similar are kept.
        inference_classes: how many of the most similar classes are kept in inference, at most ``class_length``: fewer
            take less time and give other scores, as those of SED (Xie et al., 2024, category early rejection), which
            drops classes between the decoder's layers. None: ``class_length``, as published.
        class_pooling: side of the pooling of class attention in training.
        decoder_channels, guidance_channels, guidance_projections: see :class:`CostDecoder`.
        inference_chunk: how many class maps are aggregated at once without gradients; bounds the memory. 'auto': 32 on
            a CPU; on a GPU as many as fit (:mod:`~hclip_mmseg.models.cost_aggregation.chunks`). None: all.
        training_chunk: the same in training. Where there are more maps, each chunk is computed again in the
            backward pass (171 classes of one image: a third of the memory for an eighth more time on a CPU); on a GPU
            'auto' computes again only what does not fit. None keeps everything that the backward pass needs in memory,
            however much it is.

    Raises:
        ValueError: if a chunk is no number of class maps.
    """

    def __init__(
        self,
        text_channels: int = 512,
        templates: int = 1,
        dim: int = 128,
        layers: int = 2,
        heads: int = 4,
        window: int = 12,
        appearance_dim: int = 128,
        text_guidance_dim: int = 128,
        class_length: int = 256,
        class_pooling: int = 2,
        decoder_channels: Sequence[int] = (64, 32),
        guidance_channels: Sequence[int] = (256, 128),
        guidance_projections: Sequence[int] = (32, 16),
        inference_classes: int | None = None,
        inference_chunk: ChunkSize = "auto",
        training_chunk: ChunkSize = "auto",
    ) -> None:
        super().__init__()
        if inference_classes is not None and not 1 <= inference_classes <= class_length:
            raise ValueError(f"inference_classes is from 1 to class_length, {class_length}, not {inference_classes}")
        check_chunk("inference_chunk", inference_chunk)
        check_chunk("training_chunk", training_chunk)
        self.class_length, self.inference_classes = class_length, inference_classes
        self.inference_chunk, self.training_chunk = inference_chunk, training_chunk
        self.embed_cost = nn.Conv2d(templates, dim, 7, padding=3)
        self.appearance_projection = (
            nn.Sequential(nn.Conv2d(text_channels, appearance_dim, 3, padding=1), nn.ReLU()) if appearance_dim else None
        )
        self.text_projection = (
            nn.Sequential(nn.Linear(text_channels, text_guidance_dim), nn.ReLU()) if text_guidance_dim else None
        )
        self.layers: Any = nn.ModuleList(
            AggregationLayer(
                SpatialAggregation(dim, appearance_dim, heads, window),
                ClassAggregation(dim, text_guidance_dim, heads, class_length, class_pooling),
            )
            for _ in range(layers)
        )
        self.decoder = CostDecoder(dim, decoder_channels, guidance_channels, guidance_projections)
        self._rounded: RoundedTwin[CostAggregator] = RoundedTwin()

    def forward(self, dense: Tensor, guidance: tuple[Tensor, ...], text: Tensor) -> Tensor:
        """Scores every class at every place; see :meth:`most_similar` for the arguments.

        Returns:
            logits [B, T, 4 H, 4 W]; a class outside the ``class_length`` most similar ones scores -100.
        """
        return scores_of_all(*self.most_similar(dense, guidance, text), classes=text.shape[-3])

    def most_similar(self, dense: Tensor, guidance: tuple[Tensor, ...], text: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores the classes that are aggregated: all, or the most similar ones.

        At most ``class_length`` of them are kept, in inference ``inference_classes``.

        Args:
            dense: dense tokens [B, C, H, W].
            guidance: maps of the image tower from coarse to fine, [B, channels, 2 H, 2 W] and
                [B, channels, 4 H, 4 W]; () where the decoder was built without.
            text: text embeddings [T, P, C] or [B, T, P, C].

        Returns:
            logits [B, K, 4 H, 4 W] and the [B, K] classes that they belong to, or None where K = T.
        """
        if text.dim() == 3:
            text = text.expand(dense.shape[0], -1, -1, -1)
        cost = cost_volume(dense, text)
        kept: Tensor | None = None
        most = self.class_length if self.training else self.inference_classes or self.class_length
        if text.shape[1] > most:
            kept = most_similar_classes(cost, most)
            cost = cost.gather(2, kept[:, None, :, None, None].expand(-1, cost.shape[1], -1, *cost.shape[-2:]))
            text = text.gather(1, kept[:, :, None, None].expand(-1, -1, *text.shape[2:]))
        return self.aggregate(cost, dense, guidance, text), kept

    def aggregate(self, cost: Tensor, dense: Tensor, guidance: tuple[Tensor, ...], text: Tensor) -> Tensor:
        """Cost volume [B, P, T, H, W] -> logits [B, T, 4 H, 4 W]; under autocast its weights are cast once before."""
        return self._rounded.of(self, cost.device)._aggregate(cost, dense, guidance, text)

    def _aggregate(self, cost: Tensor, dense: Tensor, guidance: tuple[Tensor, ...], text: Tensor) -> Tensor:
        appearance = None
        if self.appearance_projection is not None:
            appearance = self.appearance_projection(dense).permute(0, 2, 3, 1)
        text_guidance = None
        if self.text_projection is not None:
            mean = F.normalize(text, dim=-1).mean(dim=-2)
            mean = F.normalize(mean, dim=-1).to(next(self.text_projection.parameters()).dtype)
            text_guidance = self.text_projection(mean)
        shared = self.decoder.project_guidance(guidance)
        chunks = self.chunks(cost)
        run_spatial = run_again_backward if chunks.spatial_again else run
        run_decoder = run_again_backward if chunks.decoder_again else run
        x = joined([self._embed(part) for part in cut(cost, chunks.size, dim=2)])
        for layer in self.layers:
            x = joined([run_spatial(layer.spatial, part, appearance) for part in cut(x, chunks.size, dim=1)])
            x = layer.classes(x, text_guidance, classes_at_once=chunks.size)
        return joined([run_decoder(self.decoder, part, shared) for part in cut(x, chunks.size, dim=1)])

    def settle(self) -> None:
        """Hold weights that are cast without comparing them, until :meth:`forget`."""
        self._rounded.settle()

    def forget(self) -> None:
        """Drop the weights that are cast."""
        self._rounded.forget()

    def _embed(self, cost: Tensor) -> Tensor:
        """[B, P, T, H, W] -> [B, T, H, W, dim]."""
        batch, _, classes = cost.shape[:3]
        maps = cost.transpose(1, 2).flatten(0, 1)
        return self.embed_cost(maps).permute(0, 2, 3, 1).unflatten(0, (batch, classes))

    def chunks(self, cost: Tensor) -> Chunks:
        """How the aggregation of a cost volume [B, P, T, H, W] is cut now, on its device."""
        batch, _, classes, height, width = cost.shape
        gradients = torch.is_grad_enabled()
        size = self.training_chunk if gradients else self.inference_chunk
        if size != "auto":
            return fixed_chunks(size, batch, classes, gradients)
        if torch.compiler.is_compiling() and device_memory.has_memory_of_its_own(cost.device):
            return Chunks(None)  # a graph asks for no memory's state
        allowed = device_memory.allowance(cost.device, SHARE)
        if allowed is None:
            return fixed_chunks(CHUNK_ON_CPU, batch, classes, gradients)
        number = device_memory.bytes_of_number(cost.device, cost.dtype)
        return fitting_chunks(allowed, self.map_bytes(height * width, number), batch, classes, gradients)

    def map_bytes(self, places: int, number: int) -> MapBytes:
        """Bytes of a class map.

        Counted in numbers a place, as autograd keeps them: a Swin block 18 times the width (norms, q, k and v, mixed
        values, the MLP's hidden layer before and behind its activation), class aggregation at pooled places 5 times.

        Args:
            places: of the grid.
            number: bytes of a number.
        """
        dim, layers = self.embed_cost.out_channels, len(self.layers)
        decoder = self.decoder.kept_numbers()
        numbers = (
            (2 + 5 * layers) * dim,
            36 * layers * dim,
            sum(decoder),
            3 * dim + max(12 * dim, max(decoder)),
        )
        return MapBytes(*(places * number * count for count in numbers))
