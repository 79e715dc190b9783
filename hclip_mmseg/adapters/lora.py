"""LoRA: projections changed by low-rank products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hclip_mmseg.adapters.base import PROJECTIONS, Adapter, BlockOperation, Numbers, Tower, tower_sizes
from hclip_mmseg.adapters.precision import without_autocast


class LoRA(Adapter):
    """W' = W + (alpha / r) B A (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2022, Section 4.1).

    The low-rank branch is mmpretrain's ``LoRALinear``, which is imported when a LoRA is built and not before.
    B starts at 0, so training starts as plain CLIP.

    Args:
        rank: r. 64 in ViT-B/16 is 7,864,320 numbers in both towers, the 7.5 M of the H-CLIP paper's row.
        alpha: None for r, which makes the scale 1; the H-CLIP paper says nothing of it.
        drop_rate: dropout before A, in training.
        projections: the projections that are changed, of 'q', 'k', 'v' and 'out'.
        sizes: see :func:`~hclip_mmseg.adapters.base.tower_sizes`.

    Attributes:
        layers: tower -> layer -> projection -> ``LoRALinear``.

    Raises:
        ValueError: on a rank below 1, an unknown projection or none, or without mmpretrain.
    """

    has_strength = True
    takes_rounded = True

    def __init__(
        self,
        *,
        rank: int = 64,
        alpha: float | None = None,
        drop_rate: float = 0.0,
        projections: Sequence[str] = PROJECTIONS,
        **sizes: Any,
    ) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"the rank of a LoRA must be at least 1, not {rank}")
        unknown = [projection for projection in projections if projection not in PROJECTIONS]
        if unknown or not projections:
            raise ValueError(f"projections must be some of {list(PROJECTIONS)}, got {list(projections)}")
        self.projections = tuple(projections)
        low_rank = _low_rank_layer()

        def branch(width: int) -> nn.Module:
            layer: nn.Module = low_rank(
                _Nothing(width, width), alpha=rank if alpha is None else alpha, rank=rank, drop_rate=drop_rate
            )
            return layer

        self.layers = nn.ModuleDict(
            {
                tower: nn.ModuleList(
                    nn.ModuleDict({projection: branch(size.width) for projection in projections})
                    for _ in range(size.layers)
                )
                for tower, size in tower_sizes(**sizes).items()
            }
        )

    def linear(
        self, tower: Tower, layer: int, projection: str, x: Tensor, weight: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """W x + bias + (alpha / r) B A x; see :class:`~hclip_mmseg.adapters.base.Adapter`."""
        output = F.linear(x, weight, bias)
        branch = self._branch(tower, layer, projection)
        return output if branch is None else output + self.part(0, branch(x))

    def adapted_weight(self, tower: Tower, layer: int, projection: str, weight: Tensor) -> Tensor:
        """W'; dropout is left out of it."""
        branch = self._branch(tower, layer, projection)
        if branch is None:
            return weight
        with without_autocast(weight):
            product = branch.get_parameter("lora_up.weight") @ branch.get_parameter("lora_down.weight")
            return weight + self.part(0, cast(float, branch.scaling) * product).to(weight.dtype)

    def parameters_at(self, at: BlockOperation) -> list[Numbers]:
        """A and B of a projection."""
        branch = self._branch(at.tower, at.layer, at.operation)
        names = () if branch is None else (name for name, _ in branch.named_parameters())
        return [Numbers(f"layers.{at.tower}.{at.layer}.{at.operation}.{name}") for name in names]

    def _branch(self, tower: Tower, layer: int, projection: str) -> nn.Module | None:
        if tower not in self.layers or projection not in self.projections:
            return None
        return self.layers.get_submodule(f"{tower}.{layer}.{projection}")


class _Nothing(nn.Module):
    """Stands where ``LoRALinear`` keeps the frozen layer, whose weights stay in the tower."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros((), dtype=x.dtype, device=x.device)


def _low_rank_layer() -> Any:
    try:
        from mmpretrain.models.peft.lora import LoRALinear
    except ImportError as error:
        raise ValueError("LoRA is mmpretrain's: install it with pip install onedl-mmpretrain") from error
    return LoRALinear
