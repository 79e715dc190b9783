"""DCRC: relations between the adapters of different layers and towers.

All adapters stand in one tensor T of [q, q, 4 L, c]: slice [., ., 4 l + p, s] belongs to layer l,
projection p (q, k, v, out) and column s, where the c = b_t + k b_v columns are the text tower's
blocks, then the image tower's. A relation gives a tensor of the same shape, in which each slice is a
mixture of the others.

The papers ground this in the T-product A * B: take both tensors along modes 3 to p into the domain
of an invertible transform, multiply their frontal slices, come back. The relations are such
transforms, learned and of T alone, and the frontal slices that they give are multiplied with those of
the frozen weights; there is no way back to take, since the weights are what is wanted. So the linear
relation of one layer is ``transform_modes(T, (Lambda, M_l))``, the very first step of ``t_product``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hclip_mmseg.adapters.base import PROJECTIONS
from hclip_mmseg.adapters.t_product import mode_product

NONLINEARITIES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


class Relation(nn.Module):
    """Relates the slices of an adapter tensor to each other.

    Args:
        layers: L, the number of layers that the rows stand for.
        columns: c, the number of columns.
    """

    def __init__(self, layers: int, columns: int) -> None:
        super().__init__()
        self.num_layers, self.num_columns = layers, columns

    def relate(self, slices: Tensor) -> Tensor:
        """The relation with the slices' modes first: [4 L, c, q, q] -> the same."""
        raise NotImplementedError

    def forward(self, tensor: Tensor) -> Tensor:
        """The related tensor.

        Args:
            tensor: T, [q, q, 4 L, c].

        Returns:
            [q, q, 4 L, c], a view of a contiguous [4 L, c, q, q].

        Raises:
            ValueError: if the tensor has other rows or columns than the relation.
        """
        rows = len(PROJECTIONS) * self.num_layers
        if tensor.dim() != 4 or tensor.shape[2:] != (rows, self.num_columns):
            raise ValueError(
                f"this relation takes a tensor [q, q, {rows}, {self.num_columns}], got {tuple(tensor.shape)}"
            )
        # With the mixed modes outermost every mode product is a few large matrix products. Transposed as a
        # matrix, since that is what PyTorch does block by block, in half of the time.
        size = tensor.shape[0]
        slices = tensor.reshape(size * size, -1).t().contiguous().view(rows, self.num_columns, size, size)
        return self.relate(slices).permute(2, 3, 0, 1)


class LinearRelation(Relation):
    """Layer l reads rows 4 l to 4 l + 3 of (T x_4 M_l) x_3 Lambda: the published code's relation.

    The two products act on different modes and so commute. Lambda first costs q^2 (4 L)^2 c
    multiply-adds for all layers together, since each reads its own four rows; M_l then costs
    q^2 4 c^2 for these four rows alone. In ViT-B/16 that is 0.46 G in all; M_l first would be 1.3 G.

    Attributes:
        layers: Lambda, [4 L, 4 L]; starts at the identity.
        columns: M_0, ..., M_{L-1}, [L, c, c]; each starts at the identity.
    """

    def __init__(self, layers: int, columns: int) -> None:
        super().__init__(layers, columns)
        self.layers = nn.Parameter(torch.eye(len(PROJECTIONS) * layers))
        self.columns = nn.Parameter(torch.eye(columns).repeat(layers, 1, 1))

    def relate(self, slices: Tensor) -> Tensor:
        """See :class:`Relation`."""
        rows = mode_product(slices, self.layers.to(slices.dtype), 1)
        own_rows = rows.view(self.num_layers, len(PROJECTIONS), self.num_columns, -1)
        related = torch.matmul(self.columns.to(slices.dtype).unsqueeze(1), own_rows)
        return related.view(slices.shape)


class ResidualLinearRelation(Relation):
    """T + alpha * (T x_3 S_3 x_4 S_4): the paper's relation before MLPs take the products' place (H-CLIP, Eq. 18).

    In the paper's order of modes S_3 relates the slices of a layer and S_4 the layers. T's rows are 4 to a layer, one
    for each projection; S_4 relates the rows of the same projection, so its size stays the printed L x L. alpha is as
    in :class:`MLPRelation`. The paper names no start; here S_3 and S_4 start at the identity and alpha at 0.

    Attributes:
        slices: S_3, [c, c].
        layers: S_4, [L, L].
        alpha: [c, L].
    """

    def __init__(self, layers: int, columns: int) -> None:
        super().__init__(layers, columns)
        self.slices = nn.Parameter(torch.eye(columns))
        self.layers = nn.Parameter(torch.eye(layers))
        self.alpha = nn.Parameter(torch.zeros(columns, layers))

    def relate(self, slices: Tensor) -> Tensor:
        """See :class:`Relation`."""
        own = slices.unflatten(0, (self.num_layers, len(PROJECTIONS)))  # [L, 4, c, q, q]
        related = mode_product(mode_product(own, self.slices.to(own.dtype), 3), self.layers.to(own.dtype), 1)
        return slices + (self.alpha.to(own.dtype).T[:, None, :, None, None] * related).flatten(0, 1)


class ModeMLP(nn.Module):
    """A two-layer MLP without bias along one mode of a tensor: (T x_k A) -> nonlinearity -> x_k B.

    Args:
        size: length of the mode.
        hidden: width between the two layers.
        nonlinearity: a key of ``NONLINEARITIES``.

    Attributes:
        inner: A, [hidden, size].
        outer: B, [size, hidden].
    """

    def __init__(self, size: int, hidden: int, nonlinearity: str) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"the hidden width of a relation's MLP must be at least 1, not {hidden}")
        self.inner = nn.Parameter(torch.empty(hidden, size))
        self.outer = nn.Parameter(torch.empty(size, hidden))
        for weight in (self.inner, self.outer):
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
        self.nonlinearity = NONLINEARITIES[nonlinearity]

    def forward(self, tensor: Tensor, mode: int) -> Tensor:
        """The MLP along ``mode`` (counted from 1) of ``tensor``; the shape stays."""
        hidden = self.nonlinearity(mode_product(tensor, self.inner.to(tensor.dtype), mode))
        return mode_product(hidden, self.outer.to(tensor.dtype), mode)


class MLPRelation(Relation):
    """T + alpha * f4(f3(T)): the paper's relation with MLPs (H-CLIP, Eqs. 18 to 20).

    The paper's T holds the R behind the Cayley map; ``POP(relate=...)`` chooses.

    The papers' subscripts follow their order of modes, slices third and layers fourth, as the shape of
    alpha, [b_t + b_v, L], does. Here T keeps the published checkpoints' order, so f3 (over the slices)
    acts on mode 4, of length c, and f4 (over the layers) on mode 3, of length 4 L: like Lambda of the
    linear form, it relates the projections of a layer too. alpha has one entry for each column and
    layer, which the layer's four projections share. With alpha = 0 the relation starts as the identity,
    bit for bit.

    Args:
        layers: L.
        columns: c.
        slice_hidden: hidden width of f3; None means c.
        layer_hidden: hidden width of f4; None means 4 L.
        nonlinearity: 'gelu', 'relu', 'silu' or 'tanh'.

    Raises:
        ValueError: on a hidden width below 1 or an unknown nonlinearity.
    """

    def __init__(
        self,
        layers: int,
        columns: int,
        *,
        slice_hidden: int | None = None,
        layer_hidden: int | None = None,
        nonlinearity: str = "gelu",
    ) -> None:
        super().__init__(layers, columns)
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(f"nonlinearity must be one of {sorted(NONLINEARITIES)}, not {nonlinearity!r}")
        rows = len(PROJECTIONS) * layers
        self.f3 = ModeMLP(columns, columns if slice_hidden is None else slice_hidden, nonlinearity)
        self.f4 = ModeMLP(rows, rows if layer_hidden is None else layer_hidden, nonlinearity)
        self.alpha = nn.Parameter(torch.zeros(columns, layers))

    def relate(self, slices: Tensor) -> Tensor:
        """See :class:`Relation`."""
        alpha = self.alpha.to(slices.dtype).T.repeat_interleave(len(PROJECTIONS), dim=0)
        related: Tensor = self.f4(self.f3(slices, mode=2), mode=1)
        return slices + alpha[:, :, None, None] * related


RELATIONS: Mapping[str, type[Relation]] = {
    "linear": LinearRelation,
    "residual_linear": ResidualLinearRelation,
    "mlp": MLPRelation,
}


def build_relation(config: Mapping[str, Any] | None, *, layers: int, columns: int) -> Relation | None:
    """A relation from its config.

    Args:
        config: ``dict(type='linear')``, ``dict(type='residual_linear')``, ``dict(type='mlp', ...)`` with arguments
            of :class:`MLPRelation`, or None for no relation.
        layers: L.
        columns: c.

    Raises:
        ValueError: on an unknown type or argument.
    """
    if config is None:
        return None
    arguments = dict(config)
    kind = arguments.pop("type", None)
    if kind not in RELATIONS:
        raise ValueError(f"relation.type must be one of {sorted(RELATIONS)}, not {kind!r}")
    try:
        return RELATIONS[kind](layers, columns, **arguments)
    except TypeError as error:
        raise ValueError(f"the {kind!r} relation does not take {sorted(arguments)}: {error}") from error
