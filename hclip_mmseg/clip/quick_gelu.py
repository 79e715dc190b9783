"""CLIP's MLP with QuickGELU, x sigmoid(1.702 x), in fewer passes over its wide inner layer."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from open_clip.transformer import QuickGELU
from torch import Tensor, nn

SLOPE = 1.702
LAYERS = {"c_fc": nn.Linear, "gelu": QuickGELU, "c_proj": nn.Linear}


class QuickGELUMLP(nn.Sequential):
    """The same layers under the same names: ``c_fc``, ``gelu``, ``c_proj``.

    As x sigmoid(s x) = silu(s x) / s, the first product is scaled by s and the second by 1 / s while they are
    computed, and what is left of the activation is one pass, of which training keeps one tensor instead of three.
    """

    c_fc: nn.Linear
    c_proj: nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        first, second = self.c_fc, self.c_proj
        hidden = torch.addmm(first.bias, x.reshape(-1, x.shape[-1]), first.weight.t(), beta=SLOPE, alpha=SLOPE)
        hidden = F.silu(hidden, inplace=not torch.is_grad_enabled())
        return torch.addmm(second.bias, hidden, second.weight.t(), alpha=1 / SLOPE).view(x.shape)


def use_quick_gelu_mlps(model: nn.Module) -> None:
    """Puts :class:`QuickGELUMLP` in the place of every MLP of ``model`` that computes just that; others stay."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            layers = {part: type(layer) for part, layer in child.named_children()}
            if type(child) is nn.Sequential and layers == LAYERS:
                setattr(parent, name, QuickGELUMLP(OrderedDict(child.named_children())))


def has_quick_gelu(model: nn.Module) -> bool:
    """Whether any layer of a model is a QuickGELU, alone or in a :class:`QuickGELUMLP`."""
    return any(isinstance(module, QuickGELU | QuickGELUMLP) for module in model.modules())
