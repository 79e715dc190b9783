"""ResCLIP: attention of middle blocks added to the last, and a first result fed back into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from hclip_mmseg.clip import ImageTower
from hclip_mmseg.clip.attention import run_block
from hclip_mmseg.training_free.dense import DenseMethod, DenseTokens, ImageContext, Trunk, layers_of
from hclip_mmseg.training_free.last_attention import check_form, finish_last_block, neighbour_window
from hclip_mmseg.training_free.pamr import PAMR
from hclip_mmseg.training_free.per_benchmark import PerBenchmark, Setting

LINES = ("begun", "whole")


class SemanticFeedback:
    """Which patches a first result finds alike (SFR; ResCLIP, section 3.3).

    The names' probabilities of that result, smoothed by PAMR, give each patch the label that most of its pixels have;
    pixels less sure than ``threshold`` have that of the first name. Pixels of the window behind its last whole patch
    are left out of the votes alone. Two patches of one label count 1, or exp(-steps / most steps) where the line from
    one to the other leaves the label. Rows are then smoothed along the flattened patches by a Gaussian and divided by
    their sum.

    Args:
        tau, weight: the scores become tau ((1 - weight) scores + weight alike / its maximum).
        threshold: of the probabilities.
        Of these three the authors chose other numbers for each data set: each may be a mapping from benchmarks, see
        :data:`~.per_benchmark.Setting`.
        scale: of the cosines in their softmax.
        sigma: of the Gaussian, in patches.
        smooth: whether PAMR is run.
        line: which part of the line between two patches is looked at: 'begun', as in the published code, only the steps
            / most steps of it that are nearest to the first patch, the whole of it between the farthest; or 'whole', as
            the paper has it.

    Raises:
        ValueError: on another ``line``.
    """

    def __init__(
        self,
        tau: Setting = 1.8,
        weight: Setting = 0.7,
        threshold: Setting = 0.25,
        scale: float = 40.0,
        sigma: float = 5.0,
        smooth: bool = True,
        line: str = "begun",
    ) -> None:
        if line not in LINES:
            raise ValueError(f"feedback.line must be one of {', '.join(LINES)}, not {line!r}")
        self.tau, self.weight = PerBenchmark(tau, "feedback.tau"), PerBenchmark(weight, "feedback.weight")
        self.threshold = PerBenchmark(threshold, "feedback.threshold")
        self.scale, self.sigma, self.line = scale, sigma, line
        self.pamr = PAMR() if smooth else None

    def labels(self, logits: Tensor, pixels: Tensor, patch: int, benchmark: str = "") -> Tensor:
        """Labels of a window's patches.

        Args:
            logits: cosines [names, rows, columns].
            pixels: [3, h, w], at least what the patches cover.
            patch: its side in pixels.
            benchmark: see :class:`~.dense.ImageContext`.

        Returns:
            [rows, columns].
        """
        rows, columns = logits.shape[-2:]
        maps = F.interpolate(logits[None], size=pixels.shape[-2:], mode="bilinear", align_corners=False)[0]
        if self.pamr is not None:
            maps = self.pamr.prepared(pixels)(maps)
        best, label = (self.scale * maps).softmax(dim=0).max(dim=0)
        label = label.masked_fill(best < self.threshold.at(benchmark), 0)
        label = label[: rows * patch, : columns * patch]
        of_patches = label.unflatten(1, (columns, patch)).unflatten(0, (rows, patch)).transpose(1, 2).flatten(2)
        votes = torch.zeros(rows, columns, len(logits), device=logits.device)
        return votes.scatter_add_(2, of_patches, torch.ones_like(of_patches, dtype=votes.dtype)).argmax(dim=-1)

    def alike(self, labels: Tensor) -> Tensor:
        """[patches, patches] of labels [rows, columns]."""
        same, far = self._paths(labels)
        patches = labels.numel()
        size = min(patches, int(6 * self.sigma + 1))
        size += 1 - size % 2
        offsets = torch.arange(size, device=labels.device) - size // 2
        kernel = torch.exp(-offsets.square() / (2 * self.sigma**2))
        found = (same * far)[:, None]
        found = F.conv1d(found, (kernel / kernel.sum())[None, None], padding=size // 2)[:, 0].relu()
        return found / (found.sum(dim=1, keepdim=True) + 1e-8)

    def _paths(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Whether two patches have one label, and how much their distance takes away, each [patches, patches]."""
        columns, flat = labels.shape[1], labels.flatten()
        index = torch.arange(len(flat), device=labels.device)
        place = torch.stack([index // columns, index % columns], dim=-1)
        steps = (place[None] - place[:, None]).abs().amax(dim=-1)
        most = max(int(steps.max()), 1)
        stays = torch.ones_like(steps, dtype=torch.bool)
        for step, begun in enumerate(torch.linspace(0, 1, most + 1, device=labels.device)):
            part = step / steps.clamp(min=step or 1) if self.line == "whole" else begun.expand_as(steps)
            at = (place[:, None] * (1 - part[..., None]) + place[None] * part[..., None]).round().long()
            stays &= (flat[at[..., 0] * columns + at[..., 1]] == flat[:, None]) | (steps < step)
        decay = torch.exp(-steps / most)
        return (flat[:, None] == flat).float(), torch.ones_like(decay).where(stays, decay)


@MODELS.register_module()
class ResidualAttention(DenseMethod):
    """The last block's attention mixed with that of middle blocks (RCS; ResCLIP, CVPR 2025, section 3.2).

    A <- tau ((1 - weight) A + weight C), C the mean over ``layers`` of their own attention, head by head. With
    ``feedback`` the scores of A are mixed before their softmax with what a first run finds alike (SFR).

    Args:
        form: of A, one of :data:`~.last_attention.FORMS`; its residual and MLP are kept.
        layers: the middle blocks, from 0 or negative from behind the last; 6 to 9 of 12 as published.
        tau, weight: of the attention; each may be a mapping from benchmarks, see :data:`~.per_benchmark.Setting`.
        feedback: arguments of :class:`SemanticFeedback`; None for none.
    """

    def __init__(
        self,
        form: str = "naclip",
        layers: Sequence[int] = (-7, -6, -5, -4),
        tau: Setting = 2.0,
        weight: Setting = 0.3,
        feedback: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.form, self.layers = check_form(form), tuple(layers)
        self.tau = PerBenchmark(tau, "ResidualAttention.tau")
        self.weight = PerBenchmark(weight, "ResidualAttention.weight")
        if not self.form.pairs:
            raise ValueError(f"ResidualAttention mixes attentions, and the form {form!r} has none; take 'naclip'")
        self.feedback = None if feedback is None else SemanticFeedback(**feedback)

    def check(self, tower: ImageTower) -> None:
        """Raises a ValueError if the tower has no such blocks."""
        layers_of(self.layers, tower.layers, type(self).__name__)

    def forward(self, trunk: Trunk, pixels: Tensor, context: ImageContext) -> DenseTokens:
        """See :class:`DenseMethod`."""
        x, middle = self._middle(trunk, pixels)
        grid = trunk.tower.grid_of(*pixels.shape[-2:])
        found = self._last(trunk, x, middle, grid, None, context)
        if self.feedback is None:
            return DenseTokens(found, grid)
        logits = context.classify(DenseTokens(found, grid))
        patch, own = trunk.tower.patch_size, context.own_pixels(len(pixels)).float()
        sides = zip(pixels.shape[-2:], own.shape[-2:], strict=True)
        down, right = (max(whole - side, 0) for whole, side in sides)  # of a window narrower than a patch
        pairs = zip(logits.float(), F.pad(own, (0, right, 0, down)), strict=True)
        labels = [self.feedback.labels(*pair, patch, context.benchmark) for pair in pairs]
        alike = torch.stack([self.feedback.alike(own) for own in labels])
        context.keep("alike in a first result", alike, grid)
        return DenseTokens(self._last(trunk, x, middle, grid, alike, context), grid)

    def _middle(self, trunk: Trunk, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens before the last block, and C, [n, heads, tokens, tokens]."""
        layers = layers_of(self.layers, trunk.tower.layers, type(self).__name__)
        x, total = trunk.tower.embed(pixels), torch.zeros(())
        for index, block in enumerate(trunk.tower.blocks[: trunk.last]):
            if index in layers:
                q, k, _ = (part.unflatten(-1, (block.attn.num_heads, -1)) for part in trunk.qkv(x, index))
                scores = q.transpose(1, 2) @ k.permute(0, 2, 3, 1) * q.shape[-1] ** -0.5
                total = total.to(x.device) + scores.softmax(dim=-1) / len(layers)
            x = run_block(block, x, trunk.projections(index))
        return x, total

    def _last(
        self,
        trunk: Trunk,
        x: Tensor,
        middle: Tensor,
        grid: tuple[int, int],
        alike: Tensor | None,
        context: ImageContext,
    ) -> Tensor:
        """Tokens of the patches [n, patches, width]."""
        block = trunk.tower.blocks[trunk.last]
        parts = {
            name: part.unflatten(-1, (block.attn.num_heads, -1)).transpose(1, 2)
            for name, part in zip("qkv", trunk.qkv(x, trunk.last), strict=True)
        }
        weights = torch.zeros_like(middle)
        for pair in self.form.pairs:
            scores = parts[pair[0]] @ parts[pair[1]].mT * parts["v"].shape[-1] ** -0.5
            if alike is not None and self.feedback is not None:
                own = F.pad(alike / alike.amax(dim=(1, 2), keepdim=True), (1, 0, 1, 0))[:, None]
                tau, weight = self.feedback.tau.at(context.benchmark), self.feedback.weight.at(context.benchmark)
                scores = tau * ((1 - weight) * scores + weight * own)
            if self.form.sigma is not None:
                scores = scores + neighbour_window(grid, self.form.sigma, x.device).to(scores.dtype)
            weights = weights + scores.softmax(dim=-1)
        tau, weight = self.tau.at(context.benchmark), self.weight.at(context.benchmark)
        weights = tau * ((1 - weight) * weights + weight * middle)
        context.keep("attention", weights, grid)
        mixed = (weights @ parts["v"]).transpose(1, 2).flatten(2)
        return finish_last_block(block, x, mixed, trunk.projections(trunk.last), self.form)[:, 1:]
