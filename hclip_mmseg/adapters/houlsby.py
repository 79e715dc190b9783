"""Adapter: bottlenecks behind attention and MLP."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from hclip_mmseg.adapters.base import Adapter, BlockOperation, Numbers, Tower, tower_sizes


class Bottleneck(nn.Module):
    """x + up(GELU(down(x))).

    Args:
        width: of x.
        hidden: width between the two layers.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, hidden), nn.Linear(hidden, width)
        nn.init.trunc_normal_(self.down.weight, std=0.01, a=-0.02, b=0.02)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> the same."""
        output: Tensor = x + self.up(F.gelu(self.down(x)))
        return output


class HoulsbyAdapter(Adapter):
    """A bottleneck behind the attention and one behind the MLP of every block, each before the residual is
    added (Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", 2019, Section 2.1).

    They start as the identity, the paper only near it: here the second layer starts at 0, so that training
    starts as plain CLIP. The nonlinearity makes them no change of weights; they stay in inference.

    Args:
        bottleneck: width between the two layers. 128 in ViT-B/16 is 7,901,184 numbers in both towers, the
            7.5 M of the H-CLIP paper's row.
        sizes: see :func:`~hclip_mmseg.adapters.base.tower_sizes`.

    Attributes:
        blocks: tower -> layer -> 'attention', 'mlp' -> :class:`Bottleneck`.

    Raises:
        ValueError: on a bottleneck below 1.
    """

    foldable = False
    has_strength = True
    takes_rounded = True

    def __init__(self, *, bottleneck: int = 128, **sizes: Any) -> None:
        super().__init__()
        if bottleneck < 1:
            raise ValueError(f"the bottleneck of an adapter must be at least 1 wide, not {bottleneck}")
        self.blocks = nn.ModuleDict(
            {
                tower: nn.ModuleList(
                    nn.ModuleDict({part: Bottleneck(size.width, bottleneck) for part in ("attention", "mlp")})
                    for _ in range(size.layers)
                )
                for tower, size in tower_sizes(**sizes).items()
            }
        )

    def linear(
        self, tower: Tower, layer: int, projection: str, x: Tensor, weight: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """The frozen projection, behind 'out' with a bottleneck."""
        output = F.linear(x, weight, bias)
        return self._bottleneck(tower, layer, "attention", output) if projection == "out" else output

    def mlp(self, tower: Tower, layer: int, mlp: nn.Module, x: Tensor) -> Tensor:
        """The frozen MLP with a bottleneck behind."""
        return self._bottleneck(tower, layer, "mlp", mlp(x))

    def parameters_at(self, at: BlockOperation) -> list[Numbers]:
        """The bottleneck behind the attention's output projection, or behind the MLP."""
        part = {"out": "attention", "mlp": "mlp"}.get(at.operation)
        if part is None or at.tower not in self.blocks:
            return []
        bottleneck = f"blocks.{at.tower}.{at.layer}.{part}"
        return [Numbers(f"{bottleneck}.{name}") for name, _ in self.get_submodule(bottleneck).named_parameters()]

    def _bottleneck(self, tower: Tower, layer: int, part: str, x: Tensor) -> Tensor:
        if tower not in self.blocks:
            return x
        return self.part(x, self.blocks.get_submodule(f"{tower}.{layer}.{part}")(x))
