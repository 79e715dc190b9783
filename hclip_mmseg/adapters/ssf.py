"""SSF: a scale and a shift behind every operation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hclip_mmseg.adapters.base import (
    PROJECTIONS,
    Adapter,
    Block,
    BlockOperation,
    FoldableTower,
    Norm,
    Numbers,
    Tower,
    tower_sizes,
)

# operation of a block -> width of its output in widths of the tower
OPERATIONS: Mapping[str, int] = {**dict.fromkeys(("ln_1", *PROJECTIONS, "ln_2"), 1), "fc_1": 4, "fc_2": 1}
LINEAR = ("fc_1", "fc_2")
"""The linear layers of a block's MLP, in their order."""
ENDS: Mapping[Tower, tuple[Norm, ...]] = {"image": ("ln_pre", "ln_last"), "text": ("ln_last",)}
"""The norms outside of the blocks."""


class Affine(NamedTuple):
    """scale * x + shift, one number each for a channel."""

    scale: Tensor
    shift: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """[..., width] -> the same."""
        return x * self.scale + self.shift

    def weight(self, weight: Tensor) -> Tensor:
        """The weight [width, ...] of an operation with this folded behind it."""
        return weight * self.scale.view(-1, *[1] * (weight.dim() - 1)).to(weight.dtype)

    def fold(self, operation: nn.Module, name: str) -> dict[str, Tensor]:
        """Weight and bias of a norm or a linear layer with this folded behind it, under ``name``."""
        bias = operation.get_parameter("bias")
        return {
            f"{name}.weight": self.weight(operation.get_parameter("weight")),
            f"{name}.bias": self(bias).to(bias.dtype),
        }


def identity(width: int) -> nn.ParameterDict:
    """The parameters of an :class:`Affine` that changes nothing."""
    return nn.ParameterDict({"scale": torch.ones(width), "shift": torch.zeros(width)})


class SSF(Adapter):
    """y <- scale * y + shift behind each operation (Lian et al., "Scaling & Shifting Your Features", 2022, Eq. 3).

    Operations are the norms, q, k, v, out and both layers of the MLP of every block, and the norms outside of
    the blocks. Both are linear, so all of it folds into weights and biases. Scales start at 1 and shifts at
    0 (the published code draws them within 0.02 of that), so training starts as plain CLIP.

    In ViT-B/16 this is 342,016 numbers in both towers, 0.33 M; the H-CLIP paper prints 0.6 M and does not say
    of what.

    A shift behind k adds the same to a token's score of every key, so the softmax drops it; those shifts train nothing.

    Args:
        sizes: see :func:`~hclip_mmseg.adapters.base.tower_sizes`.

    Attributes:
        blocks: tower -> layer -> operation -> ``scale``, ``shift``.
        ends: tower -> norm -> ``scale``, ``shift``.
    """

    has_strength = True
    takes_rounded = True

    def __init__(self, **sizes: Any) -> None:
        super().__init__()
        adapted = tower_sizes(**sizes)
        self.blocks = nn.ModuleDict(
            {
                tower: nn.ModuleList(
                    nn.ModuleDict({name: identity(times * size.width) for name, times in OPERATIONS.items()})
                    for _ in range(size.layers)
                )
                for tower, size in adapted.items()
            }
        )
        self.ends = nn.ModuleDict(
            {
                tower: nn.ModuleDict({norm: identity(size.width) for norm in ENDS[tower]})
                for tower, size in adapted.items()
            }
        )

    def start_from(self, blocks: Mapping[Tower, Sequence[Block]]) -> None:
        """Checks the widths; see :class:`~hclip_mmseg.adapters.base.Adapter`."""
        for tower, layers in blocks.items():
            if tower not in self.blocks:
                continue
            for layer, block in enumerate(layers):
                found = [part.out_features for part in block.mlp.children() if isinstance(part, nn.Linear)]
                expected = [self._affine(tower, layer, name).scale.numel() for name in LINEAR]
                if found != expected:
                    raise ValueError(
                        f"SSF scales an MLP of widths {expected}, and that of the {tower} tower's block {layer} has "
                        f"{found}; SSF takes CLIPs whose MLPs are 4 times as wide as their tokens"
                    )

    def without_norm(self, tower: Tower, norm: Norm) -> None:
        """Freezes what would stand behind that norm, and never acts."""
        if tower in self.ends:
            self.ends.get_submodule(f"{tower}.{norm}").requires_grad_(False)

    def linear(
        self, tower: Tower, layer: int, projection: str, x: Tensor, weight: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """The frozen projection, scaled and shifted."""
        output = F.linear(x, weight, bias)
        if tower not in self.blocks:
            return output
        return self._affine(tower, layer, projection)(output)

    def adapted_weight(self, tower: Tower, layer: int, projection: str, weight: Tensor) -> Tensor:
        """diag(scale) W; the shift goes into the bias."""
        return weight if tower not in self.blocks else self._affine(tower, layer, projection).weight(weight)

    def mlp(self, tower: Tower, layer: int, mlp: nn.Module, x: Tensor) -> Tensor:
        """The frozen MLP, scaled and shifted behind each of its layers."""
        if tower not in self.blocks:
            return super().mlp(tower, layer, mlp, x)
        behind = iter(LINEAR)
        for part in mlp.children():
            x = part(x)
            if isinstance(part, nn.Linear):
                x = self._affine(tower, layer, next(behind))(x)
        return x

    def normed(self, tower: Tower, layer: int | None, norm: Norm, x: Tensor) -> Tensor:
        """The norm's output, scaled and shifted."""
        if tower not in self.blocks:
            return x
        return self._affine(tower, layer, norm)(x)

    def parameters_at(self, at: BlockOperation) -> list[Numbers]:
        """Scale and shift of an operation; both of the MLP's layers."""
        names = LINEAR if at.operation == "mlp" else (at.operation,)
        return [
            Numbers(f"blocks.{at.tower}.{at.layer}.{name}.{part}")
            for name in names
            if at.tower in self.blocks and name in OPERATIONS
            for part in ("scale", "shift")
        ]

    def dead_parameters(self, unused: Iterable[BlockOperation] = ()) -> list[Numbers]:
        """Besides what acts in unused operations the shifts behind k."""
        dead = super().dead_parameters(unused)
        shifts = [name for name, _ in self.named_parameters() if name.endswith(".k.shift")]
        return dead + [Numbers(name) for name in shifts if Numbers(name) not in dead]

    def folded(self, tower: Tower, frozen: FoldableTower) -> dict[str, Tensor]:
        """See :class:`~hclip_mmseg.adapters.base.Adapter`."""
        if tower not in self.blocks:
            return {}
        folded = super().folded(tower, frozen)
        for norm in ENDS[tower]:
            module = frozen.get_submodule(frozen.norm_names[norm])
            if not isinstance(module, nn.Identity):  # of towers without a norm there
                folded |= self._affine(tower, None, norm).fold(module, frozen.norm_names[norm])
        return folded

    def folded_block(self, tower: Tower, layer: int, block: Block) -> dict[str, Tensor]:
        """See :class:`~hclip_mmseg.adapters.base.Adapter`."""
        folded = super().folded_block(tower, layer, block)
        biases = block.attn.in_proj_bias.chunk(3)
        shifted = [self._affine(tower, layer, p)(bias) for p, bias in zip(PROJECTIONS, biases, strict=False)]
        folded["attn.in_proj_bias"] = torch.cat(shifted)
        linear = [(name, part) for name, part in block.mlp.named_children() if isinstance(part, nn.Linear)]
        parts: dict[str, tuple[str, Any]] = {
            "out": ("attn.out_proj", block.attn.out_proj),
            "ln_1": ("ln_1", block.ln_1),
            "ln_2": ("ln_2", block.ln_2),
            **{operation: (f"mlp.{name}", part) for operation, (name, part) in zip(LINEAR, linear, strict=True)},
        }
        for operation, (name, part) in parts.items():
            folded |= self._affine(tower, layer, operation).fold(part, name)
        return folded

    def _affine(self, tower: Tower, layer: int | None, operation: str) -> Affine:
        path = f"ends.{tower}.{operation}" if layer is None else f"blocks.{tower}.{layer}.{operation}"
        learnt = self.get_submodule(path)
        return Affine(self.part(1, learnt.get_parameter("scale")), self.part(0, learnt.get_parameter("shift")))
