"""SED's decoder: a cost volume aggregated while it is upsampled, by a hierarchical image tower's maps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from timm.models.convnext import ConvNeXtBlock
from torch import Tensor, nn

from hclip_mmseg.clip import RoundedTwin
from hclip_mmseg.models.cost_aggregation.aggregator import LEFT_OUT
from hclip_mmseg.models.cost_aggregation.chunks import check_chunk, cut, joined, run, run_again_backward
from hclip_mmseg.models.cost_aggregation.class_attention import ClassAggregation
from hclip_mmseg.models.cost_aggregation.cost_volume import cost_volume
from hclip_mmseg.models.cost_aggregation.decoder import GuidedUpsample, one_channel


class FusionStep(nn.Module):
    """One step of the decoder: across places, across classes, then to twice the size (SED, section 3.3).

    Args:
        dim: width of a class's map.
        out_dim: its width after the step.
        guidance_dim: width of the image's projected map, and of the class's own from the cost volume.
        cost_dim: width of the class's cost before the step.
        heads, pooling: of the attention between classes, see :class:`~.class_attention.ClassAggregation`.
        kernel: side of the depth-wise convolution of the ConvNeXt block.
    """

    def __init__(
        self, dim: int, out_dim: int, guidance_dim: int, cost_dim: int, heads: int, pooling: int, kernel: int
    ) -> None:
        super().__init__()
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.places = ConvNeXtBlock(dim, kernel_size=kernel, ls_init_value=1.0, norm_layer=norm)
        self.classes = ClassAggregation(dim, guidance_dim=0, heads=heads, length=0, pooling=pooling)
        self.cost = nn.Sequential(nn.ConvTranspose2d(cost_dim, guidance_dim, 2, stride=2), nn.ReLU())
        self.upsample = GuidedUpsample(dim, out_dim, guidance_dim, class_channels=guidance_dim)

    def across_places(self, x: Tensor) -> Tensor:
        """The ConvNeXt block on every class's map: [B, T, H, W, dim] -> the same shape."""
        maps: Tensor = self.places(_maps(x))
        return _places(maps, x.shape[:2])

    def fuse(self, x: Tensor, cost: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        """Upsample maps and costs of some classes.

        Args:
            x: [B, T, H, W, dim].
            cost: [B, T, H, W, cost_dim].
            shared: the image's part [B, out_dim, 2 H, 2 W], see :meth:`GuidedUpsample.project_guidance`.

        Returns:
            [B, T, 2 H, 2 W, out_dim] and [B, T, 2 H, 2 W, guidance_dim].
        """
        costs = self.cost(_maps(cost))
        maps = self.upsample(_maps(x), shared, costs)
        return _places(maps, x.shape[:2]), _places(costs, x.shape[:2])


class GradualFusionDecoder(nn.Module):
    """From the cost volume to score maps, in three steps (SED: Xie et al., CVPR 2024, sections 3.2 to 3.4).

    The cost volume has a channel for each prompt template. Each :class:`FusionStep` sees the image tower's map of the
    size that it upsamples to, through which no gradient goes, and the cost volume, which is upsampled beside it.

    Scores are made before each step too; in training they have a loss each. In inference they may reject classes
    early: before a step those are dropped that are nowhere among the best.

    Args:
        templates: number P of prompt templates.
        dim: width of the cost embedding.
        channels: widths after the three steps.
        guidance_channels: channels of the image tower's maps, from coarse to fine.
        guidance_projections: channels that they are projected to.
        heads, pooling: see :class:`~.class_attention.ClassAggregation`.
        kernel: side of the depth-wise convolutions.
        kept_ranks: a class is kept if it is among so many best ones at some place; None keeps all.
        inference_chunk, training_chunk: class maps at once over the batch, which bounds the memory; in training the
            backward pass computes chunks again. None for all at once.

    Raises:
        ValueError: if the numbers of channels are not three each, a chunk is no number of class maps, or
            ``kept_ranks`` is below 1.
    """

    def __init__(
        self,
        templates: int = 80,
        dim: int = 128,
        channels: Sequence[int] = (64, 32, 16),
        guidance_channels: Sequence[int] = (512, 256, 128),
        guidance_projections: Sequence[int] = (32, 16, 8),
        heads: int = 4,
        pooling: int = 2,
        kernel: int = 9,
        kept_ranks: int | None = None,
        inference_chunk: int | None = 32,
        training_chunk: int | None = 32,
    ) -> None:
        super().__init__()
        if not len(channels) == len(guidance_channels) == len(guidance_projections) == 3:
            raise ValueError("channels, guidance_channels and guidance_projections are three numbers each")
        if kept_ranks is not None and kept_ranks < 1:
            raise ValueError(f"kept_ranks is at least 1, or None to keep all names, not {kept_ranks}")
        check_chunk("inference_chunk", inference_chunk)
        check_chunk("training_chunk", training_chunk)
        self.kept_ranks = kept_ranks
        self.inference_chunk, self.training_chunk = inference_chunk, training_chunk
        self.embed_cost = nn.Conv2d(templates, dim, 7, padding=3)
        self.guidance_projections: Any = nn.ModuleList(
            nn.Sequential(nn.Conv2d(given, wanted, 3, padding=1), nn.ReLU())
            for given, wanted in zip(guidance_channels, guidance_projections, strict=True)
        )
        widths, costs = (dim, *channels), (templates, *guidance_projections)
        self.steps: Any = nn.ModuleList(
            FusionStep(widths[i], widths[i + 1], guidance_projections[i], costs[i], heads, pooling, kernel)
            for i in range(3)
        )
        self.scores: Any = nn.ModuleList(nn.Conv2d(width, 1, 3, padding=1) for width in widths)
        self._rounded: RoundedTwin[GradualFusionDecoder] = RoundedTwin()

    def all_scores(self, dense: Tensor, guidance: Sequence[Tensor], text: Tensor) -> list[Tensor]:
        """Scores before each step and after the last; those before send no gradient into what they are made of.

        Args:
            dense: dense tokens [B, C, H, W].
            guidance: the image tower's maps [B, channels, 2 H, 2 W], [B, channels, 4 H, 4 W] and
                [B, channels, 8 H, 8 W].
            text: text embeddings [T, P, C].

        Returns:
            logits [B, T, h, w] of H, 2 H, 4 H and 8 H rows.
        """
        return self._now(dense)._decode(dense, guidance, text, None)[0]

    def most_similar(
        self, dense: Tensor, guidance: Sequence[Tensor], text: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Scores the classes that are not rejected; see :meth:`all_scores` for the arguments.

        Returns:
            logits [B, K, 8 H, 8 W] and the [B, K] classes that they belong to, or None where all are kept. A class
            that is kept in another image of the batch alone scores -100.
        """
        decoder = self._now(dense)
        if self.training or self.kept_ranks is None:
            return decoder._decode(dense, guidance, text, None)[0][-1], None
        found = [
            decoder._decode(dense[i : i + 1], [each[i : i + 1] for each in guidance], text, self.kept_ranks)
            for i in range(len(dense))
        ]
        classes = torch.cat([kept for _, kept in found]).unique()
        last = found[0][0][-1]
        logits = last.new_full((len(found), len(classes), *last.shape[-2:]), LEFT_OUT)
        for own, (scores, kept) in zip(logits, found, strict=True):
            own[torch.searchsorted(classes, kept)] = scores[-1][0]
        return logits, classes.expand(len(found), -1)

    def settle(self) -> None:
        """Hold weights that are cast without comparing them, until :meth:`forget`."""
        self._rounded.settle()

    def forget(self) -> None:
        """Drop the weights that are cast."""
        self._rounded.forget()

    def _now(self, dense: Tensor) -> GradualFusionDecoder:
        """This decoder, under autocast with its weights cast once."""
        return self._rounded.of(self, dense.device)

    def _decode(
        self, dense: Tensor, guidance: Sequence[Tensor], text: Tensor, ranks: int | None
    ) -> tuple[list[Tensor], Tensor]:
        """Scores as :meth:`all_scores`, of the classes that are kept, and these [K]; several are kept of one image."""
        shared = [
            step.upsample.project_guidance(projection(given.detach()))
            for step, projection, given in zip(self.steps, self.guidance_projections, guidance, strict=True)
        ]
        cost = cost_volume(dense, text.expand(len(dense), *text.shape)).permute(0, 2, 3, 4, 1)
        kept = torch.arange(len(text), device=dense.device)
        chunk = self._chunk(len(dense))
        again = run_again_backward if torch.is_grad_enabled() and chunk is not None and chunk < len(text) else run
        x = joined([self._embed(part) for part in cut(cost, chunk, dim=1)])
        scores: list[Tensor] = []
        for index, step in enumerate(self.steps):
            scores.append(joined([self._score(index, part.detach()) for part in cut(x, chunk, dim=1)]))
            if ranks is not None:
                best = scores[-1][0].topk(min(ranks, len(kept)), dim=0).indices.unique()
                x, cost, kept = x[:, best], cost[:, best], kept[best]
            x = joined([again(step.across_places, part) for part in cut(x, chunk, dim=1)])
            x = step.classes(x, None, classes_at_once=chunk)
            parts = list(zip(cut(x, chunk, dim=1), cut(cost, chunk, dim=1), strict=True))
            if index == len(self.steps) - 1:
                scores.append(joined([again(self._finish, *part, shared[index]) for part in parts]))
                break
            pairs = [again(step.fuse, *part, shared[index]) for part in parts]
            x, cost = (joined([pair[side] for pair in pairs]) for side in (0, 1))
        return scores, kept

    def _chunk(self, batch: int) -> int | None:
        """Classes of each image at once; None for all."""
        maps = self.training_chunk if torch.is_grad_enabled() else self.inference_chunk
        return None if maps is None else max(maps // batch, 1)

    def _embed(self, cost: Tensor) -> Tensor:
        """[B, T, H, W, P] -> [B, T, H, W, dim]."""
        return _places(self.embed_cost(_maps(cost)), cost.shape[:2])

    def _score(self, index: int, x: Tensor) -> Tensor:
        """Maps [B, T, H, W, C] before a step, or after the last -> logits [B, T, H, W]."""
        return one_channel(_maps(x), self.scores[index]).unflatten(0, x.shape[:2]).squeeze(2)

    def _finish(self, x: Tensor, cost: Tensor, shared: Tensor) -> Tensor:
        """The last step's upsampling, and the scores that it is for; nothing at the full size is kept."""
        return self._score(len(self.steps), self.steps[-1].fuse(x, cost, shared)[0])


def _maps(x: Tensor) -> Tensor:
    """[B, T, H, W, C] -> [B * T, C, H, W] in channels-last layout."""
    return x.flatten(0, 1).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _places(maps: Tensor, classes: Sequence[int]) -> Tensor:
    """[B * T, C, H, W] -> [B, T, H, W, C]."""
    return maps.permute(0, 2, 3, 1).unflatten(0, tuple(classes))
