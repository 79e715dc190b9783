"""POP: adapters in hyperspherical space, one tensor for both towers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from hclip_mmseg.adapters.base import PROJECTIONS, Adapter, BlockOperation, Numbers, Tower
from hclip_mmseg.adapters.cayley import cayley
from hclip_mmseg.adapters.held import Held, is_tracing, own_saved_tensors
from hclip_mmseg.adapters.precision import at_least_fp32, autocast_dtype, without_autocast
from hclip_mmseg.adapters.relations import build_relation
from hclip_mmseg.adapters.turning import Side, turn_weight, turned_linear

SIDES: Mapping[str, Side] = {"q": "input", "k": "input", "v": "input", "out": "output"}
"""The side on which each projection is turned: W D for q, k and v, D W for out."""

Related = Literal["X", "R"]
"""What a relation mixes: the X before the Cayley map, or the R behind it."""

TOWERS: tuple[Tower, ...] = get_args(Tower)


class ParameterCount(NamedTuple):
    """Two ways of counting an adapter tensor, and what is really trained.

    Attributes:
        entries: numbers in the tensor, each counted once.
        free: the same with those of orthogonal blocks counted half, since S = (X - X^T) / 2 reads only
            differences of pairs (strictly q (q - 1) / 2 of q^2; the papers' tables count q^2 / 2).
        relation: numbers in the relation.
        trained: numbers in the tensor and the relation that require a gradient.
    """

    entries: int
    free: int
    relation: int
    trained: int


@dataclass(frozen=True)
class _TowerSlices:
    """Where a tower's matrices stand: ``layers_per_row`` groups of ``blocks`` columns from ``start`` on."""

    start: int
    blocks: int
    layers_per_row: int
    orthogonal: bool

    @property
    def columns(self) -> slice:
        return slice(self.start, self.start + self.blocks * self.layers_per_row)

    def matrices(self, own: Tensor) -> Tensor:
        """The tower's columns [4 L, k b, q, q] -> [layers, 4, b, q, q] before the Cayley map."""
        q = own.shape[-1]
        own = own.reshape(-1, len(PROJECTIONS), self.layers_per_row, self.blocks, q, q)
        return own.transpose(1, 2).reshape(-1, len(PROJECTIONS), self.blocks, q, q)


@dataclass(frozen=True)
class _Matrices:
    """The matrices of one moment: whole, and taken apart by layer and projection.

    Those ``rounded`` are in ``dtype``, that of autocast when they were computed: all of a tower cast at once.
    """

    with_graph: bool
    turns: dict[Tower, Tensor]
    blocks: dict[Tower, tuple[Tensor, ...]]
    rounded: dict[Tower, tuple[Tensor, ...]]
    dtype: torch.dtype | None


class POP(Adapter):
    """Turns q, k, v and out of every block of CLIP by block-diagonal matrices (H-CLIP).

    One parameter, ``tensor``: T of [q, q, 4 L, b_t + k b_v] with L = ``text_layers``,
    k = ``image_layers`` / L and b = width / q. Slice [., ., 4 l + p, s] is the matrix X of layer l,
    projection p (q, k, v, out) and block s, the text tower's blocks first. Image layer k l + r stands in
    row l, columns b_t + r b_v to b_t + (r + 1) b_v - 1. The relation mixes the slices; then text blocks
    (the towers named in ``orthogonal``) go through the Cayley map, so that they are orthogonal whatever
    the relation gave, and image blocks are used as they are. Both start as the identity: X = 0 in an
    orthogonal tower, X = I elsewhere. With ``relate='R'`` the order is the paper's (H-CLIP, Eqs. 8, 18 and 20):
    first the Cayley map, then the relation, whose mixtures of orthogonal blocks are orthogonal no longer.
    Strength alpha takes T_0 + alpha (T - T_0) for the related T, where T_0 gives the identity, so that orthogonal
    blocks stay orthogonal (with ``relate='X'``).

    The matrices are computed once, in fp32 or wider, when they are first needed, and held. They are
    computed again when a parameter has changed (see :class:`~hclip_mmseg.adapters.held.ParameterVersions`;
    after writes through ``parameter.data`` call :meth:`forget`), after a backward pass has run through them,
    and when gradients are wanted of matrices that were computed without. All forward passes between two
    such events share one graph, so their losses take one backward pass together. Held matrices are part
    of neither state dicts nor copies.

    Args:
        image_layers: number of blocks of the image tower; a multiple of ``text_layers``.
        text_layers: number of blocks of the text tower.
        image_width: width of the image tower.
        text_width: width of the text tower.
        block_size: q; divides both widths.
        orthogonal: the towers whose blocks are kept orthogonal, of 'image' and 'text'.
        relation: config of :func:`~hclip_mmseg.adapters.relations.build_relation`; None for none.
        relate: 'X' or 'R', what the relation mixes; without effect where there is no relation or no orthogonal tower.
        sides: projections to be turned on another side than ``SIDES`` says, such as
            ``dict(out='input')``.
        image: whether the image tower is adapted.
        text: whether the text tower is adapted. A tower that is not has no columns in T, its layers and
            width are not looked at, and its projections stay as they are.

    Attributes:
        tensor: T.
        relation: the relation module or None.

    Raises:
        ValueError: if the numbers do not fit together or a name is unknown.
    """

    has_strength = True
    takes_rounded = True

    def __init__(
        self,
        *,
        image_layers: int,
        text_layers: int,
        image_width: int,
        text_width: int,
        block_size: int = 128,
        orthogonal: Sequence[str] = ("text",),
        relation: Mapping[str, Any] | None = {"type": "linear"},
        relate: Related = "X",
        sides: Mapping[str, Side] | None = None,
        image: bool = True,
        text: bool = True,
    ) -> None:
        super().__init__()
        depths: dict[Tower, int] = {"text": text_layers, "image": image_layers}
        widths: dict[Tower, int] = {"text": text_width, "image": image_width}
        wanted: dict[Tower, bool] = {"text": text, "image": image}
        adapted = [tower for tower in wanted if wanted[tower]]
        _check_towers(orthogonal, adapted)
        if relate not in get_args(Related):
            raise ValueError(f"relate must be one of {list(get_args(Related))}, not {relate!r}")
        _check_sizes({t: depths[t] for t in adapted}, {t: widths[t] for t in adapted}, block_size)
        self.block_size, self.relate = block_size, relate
        self.sides = _merge_sides(sides)
        self.rows = depths[adapted[0]]
        self._slices: dict[Tower, _TowerSlices] = {}
        columns = 0
        for tower in adapted:
            self._slices[tower] = _TowerSlices(
                columns, widths[tower] // block_size, depths[tower] // self.rows, tower in orthogonal
            )
            columns = self._slices[tower].columns.stop
        self.tensor = nn.Parameter(self._start(columns))
        self.relation = build_relation(relation, layers=self.rows, columns=columns)
        self._held: Held[_Matrices] = Held()

    def _start(self, columns: int) -> Tensor:
        tensor = torch.zeros(self.block_size, self.block_size, len(PROJECTIONS) * self.rows, columns)
        for slices in self._slices.values():
            if not slices.orthogonal:
                tensor[..., slices.columns] = torch.eye(self.block_size)[..., None, None]
        return tensor

    @property
    def towers(self) -> tuple[Tower, ...]:
        """The towers that are adapted."""
        return tuple(self._slices)

    def turns(self, tower: Tower) -> Tensor:
        """The matrices of a tower.

        Args:
            tower: 'image' or 'text'.

        Returns:
            R, [layers, 4, b, q, q] in fp32 (float64 if the parameters are), projections in the order
            q, k, v, out. Under ``no_grad`` it has no graph.

        Raises:
            ValueError: if the tower is unknown or not adapted.
        """
        self._check_tower(tower)
        turns = self._current().turns[tower]
        return turns if torch.is_grad_enabled() else turns.detach()

    def adapted_weight(self, tower: Tower, layer: int, projection: str, weight: Tensor) -> Tensor:
        """W D or D W, computed in fp32 or wider; see :class:`~hclip_mmseg.adapters.base.Adapter`.

        Raises:
            ValueError: if the weight does not fit the blocks, or on an unknown tower, layer or projection.
        """
        if not self._is_adapted(tower):
            return weight
        with without_autocast(weight):
            return turn_weight(weight, self._blocks(tower, layer, projection), self.sides[projection])

    def linear(
        self, tower: Tower, layer: int, projection: str, x: Tensor, weight: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """Output of the turned projection, by the cheaper of two ways.

        Arguments and result as in :class:`~hclip_mmseg.adapters.base.Adapter`.

        Raises:
            ValueError: as :meth:`adapted_weight`.
        """
        if not self._is_adapted(tower):
            return nn.functional.linear(x, weight, bias)
        index, current = self._index(tower, layer, projection), self._current()
        rounded = None
        if current.dtype is not None and current.dtype == autocast_dtype(x.device):
            rounded = current.rounded[tower][index]
        return turned_linear(x, weight, bias, current.blocks[tower][index], self.sides[projection], rounded=rounded)

    def refresh(self) -> None:
        """Compute the matrices of both towers now."""
        self.forget()
        self._current()

    def settle(self) -> None:
        """Hold the matrices without comparing parameters, until :meth:`forget`."""
        self._held.settle()

    def forget(self) -> None:
        """Drop the matrices; they are computed again when next needed."""
        self._held.forget()

    def parameters_at(self, at: BlockOperation) -> list[Numbers]:
        """The blocks of a projection; none where a relation mixes them with those of others."""
        if self.relation is not None or at.tower not in self._slices or at.operation not in PROJECTIONS:
            return []
        slices = self._slices[at.tower]
        row, place = divmod(at.layer, slices.layers_per_row)
        start = slices.start + place * slices.blocks
        row = len(PROJECTIONS) * row + PROJECTIONS.index(at.operation)
        return [Numbers("tensor", (slice(None), slice(None), row, slice(start, start + slices.blocks)))]

    def count_parameters(self) -> ParameterCount:
        """The tensor's numbers counted in both ways of the papers; see :class:`ParameterCount`."""
        block = self.block_size**2
        entries = free = 0
        for slices in self._slices.values():
            matrices = len(PROJECTIONS) * self.rows * slices.layers_per_row * slices.blocks
            entries += matrices * block
            free += matrices * block // (2 if slices.orthogonal else 1)
        relation = 0 if self.relation is None else sum(p.numel() for p in self.relation.parameters())
        trained = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return ParameterCount(entries, free, relation, trained)

    def extra_repr(self) -> str:
        """The shape of T and the orthogonal towers."""
        orthogonal = [tower for tower, slices in self._slices.items() if slices.orthogonal]
        return f"tensor={tuple(self.tensor.shape)}, orthogonal={orthogonal}, sides={self.sides}"

    def _current(self) -> _Matrices:
        held = self._held.value
        wanted = torch.is_grad_enabled() and not is_tracing()
        if held is not None and wanted and not held.with_graph:
            self.forget()
        return self._held.get(self.parameters, self._compute)

    def _compute(self) -> _Matrices:
        dtype = None if torch.compiler.is_compiling() else autocast_dtype(self.tensor.device)
        with without_autocast(self.tensor), own_saved_tensors():
            tensor = at_least_fp32(self.tensor)
            if self.relate == "R":
                tensor = self._behind_cayley(tensor)
            related = tensor if self.relation is None else self.relation(tensor)
            if self.strength != 1:
                start = self._start(related.shape[-1]).to(related)
                related = self.part(self._behind_cayley(start) if self.relate == "R" else start, related)
            slices = related.permute(2, 3, 0, 1).contiguous()
            turns = {}
            columns = slices.split([own.blocks * own.layers_per_row for own in self._slices.values()], dim=1)
            for (tower, own), part in zip(self._slices.items(), columns, strict=True):
                matrices = own.matrices(part)
                turns[tower] = cayley(matrices) if own.orthogonal and self.relate == "X" else matrices
            # Taken apart in one operation: as many single look-ups would each send back a gradient
            # of the size of the whole.
            blocks = {tower: whole.flatten(0, 1).unbind() for tower, whole in turns.items()}
            rounded = {}
            if dtype is not None:
                rounded = {tower: whole.to(dtype).flatten(0, 1).unbind() for tower, whole in turns.items()}
        computed = _Matrices(torch.is_grad_enabled(), turns, blocks, rounded, dtype)
        if slices.requires_grad:
            # Both towers' gradients meet here, after every use of the matrices (recomputation by
            # activation checkpointing included) and right before the graph behind them is freed.
            slices.register_hook(_dropper(weakref.ref(self._held), weakref.ref(computed)))
        return computed

    def _behind_cayley(self, tensor: Tensor) -> Tensor:
        """T with the orthogonal towers' X replaced by their R."""
        parts = [
            cayley(tensor[..., own.columns].permute(2, 3, 0, 1)).permute(2, 3, 0, 1)
            if own.orthogonal
            else tensor[..., own.columns]
            for own in self._slices.values()
        ]
        return torch.cat(parts, dim=-1)

    def _is_adapted(self, tower: Tower) -> bool:
        if tower not in TOWERS:
            raise ValueError(f"unknown tower {tower!r}; CLIP's towers are {list(TOWERS)}")
        return tower in self._slices

    def _check_tower(self, tower: Tower) -> None:
        if not self._is_adapted(tower):
            raise ValueError(f"the {tower} tower is not adapted and has no matrices")

    def _blocks(self, tower: Tower, layer: int, projection: str) -> Tensor:
        return self._current().blocks[tower][self._index(tower, layer, projection)]

    def _index(self, tower: Tower, layer: int, projection: str) -> int:
        depth = self.rows * self._slices[tower].layers_per_row
        if not 0 <= layer < depth:
            raise ValueError(f"the {tower} tower has layers 0 to {depth - 1}, not {layer}")
        if projection not in PROJECTIONS:
            raise ValueError(f"unknown projection {projection!r}; it must be one of {list(PROJECTIONS)}")
        return len(PROJECTIONS) * layer + PROJECTIONS.index(projection)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> POP:
        self.forget()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


def _dropper(
    owner: weakref.ReferenceType[Held[_Matrices]], computed: weakref.ReferenceType[_Matrices]
) -> Callable[[Tensor], None]:
    # Weak references: the graph that the hook hangs on is held by the very objects it speaks of.
    def drop(grad: Tensor) -> None:
        held, matrices = owner(), computed()
        if held is not None and matrices is not None and held.value is matrices:
            held.forget()

    return drop


def _check_towers(orthogonal: Sequence[str], adapted: Sequence[Tower]) -> None:
    if isinstance(orthogonal, str):
        raise ValueError(f"orthogonal must be a sequence of towers such as ('text',), not {orthogonal!r}")
    unknown = [tower for tower in orthogonal if tower not in TOWERS]
    if unknown:
        raise ValueError(f"orthogonal names unknown towers {unknown}; CLIP's towers are {list(TOWERS)}")
    if not adapted:
        raise ValueError("POP needs at least one tower to adapt; both image and text are False")


def _check_sizes(depths: Mapping[Tower, int], widths: Mapping[Tower, int], block_size: int) -> None:
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, not {block_size}")
    for tower in depths:
        if depths[tower] < 1:
            raise ValueError(f"{tower}_layers must be at least 1, not {depths[tower]}")
        if widths[tower] < 1 or widths[tower] % block_size:
            raise ValueError(
                f"block_size {block_size} does not divide the {tower} tower's width of {widths[tower]}; "
                "take a block size that divides the widths of both towers"
            )
    if len(depths) == 2 and depths["image"] % depths["text"]:
        raise ValueError(
            f"image_layers must be a multiple of text_layers, for each text layer to share a row with as "
            f"many image layers; got {depths['image']} and {depths['text']}"
        )


def _merge_sides(sides: Mapping[str, Side] | None) -> dict[str, Side]:
    changed = dict(sides or {})
    for projection, side in changed.items():
        if projection not in PROJECTIONS or side not in get_args(Side):
            raise ValueError(f"sides maps {list(PROJECTIONS)} to {list(get_args(Side))}, got {projection!r}: {side!r}")
    return {**SIDES, **changed}
