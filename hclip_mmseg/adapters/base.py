"""What the towers ask of an adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Tower = Literal["image", "text"]
"""One of CLIP's two transformers."""

PROJECTIONS: tuple[str, ...] = ("q", "k", "v", "out")
"""The projections of a block's attention, in the order in which adapters number them."""

Norm = Literal["ln_1", "ln_2", "ln_pre", "ln_last"]
"""A layer norm of a tower: the two of a block, that before the first block (image tower) and that after the
last."""


Operation = Literal["q", "k", "v", "out", "ln_1", "ln_2", "mlp", "prompts"]
"""A part of a block that an adapter may change: a projection, a norm, the MLP, or what is attended to besides."""


class Block(Protocol):
    """What is used of a block of CLIP: an ``open_clip`` ResidualAttentionBlock, or what looks like it."""

    ln_1: Callable[[Tensor], Tensor]
    ln_2: Callable[[Tensor], Tensor]
    mlp: nn.Module

    @property
    def attn(self) -> Any:
        """``nn.MultiheadAttention``, or what has its weights under its names."""

    @property
    def ls_1(self) -> Callable[[Tensor], Tensor]:
        """Scales what the attention adds."""

    @property
    def ls_2(self) -> Callable[[Tensor], Tensor]:
        """Scales what the MLP adds."""


class FoldableTower(Protocol):
    """What folding uses of a tower."""

    norm_names: ClassVar[Mapping[Norm, str]]

    @property
    def blocks(self) -> Sequence[Block]:
        """The transformer's blocks."""

    def own_parameters(self, layer: int, of_block: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parameters of a block by open_clip's names in it -> by their names in the tower."""

    def get_submodule(self, target: str) -> nn.Module:
        """A module of the tower by its name."""


class BlockOperation(NamedTuple):
    """An operation of one block, counted from 0."""

    tower: Tower
    layer: int
    operation: Operation


class Numbers(NamedTuple):
    """Some numbers of a parameter: ``module.get_parameter(parameter)[where]``; () stands for all of them."""

    parameter: str
    where: tuple[int | slice, ...] = ()


class TowerSize(NamedTuple):
    """Number of blocks of a tower, and the width of its tokens."""

    layers: int
    width: int


def tower_sizes(
    *,
    image_layers: int,
    text_layers: int,
    image_width: int,
    text_width: int,
    image: bool = True,
    text: bool = True,
) -> dict[Tower, TowerSize]:
    """The sizes of the towers that are adapted.

    Args:
        image_layers, text_layers: number of blocks of the towers.
        image_width, text_width: their widths.
        image, text: whether each is adapted.

    Raises:
        ValueError: if neither is.
    """
    sizes: dict[Tower, TowerSize] = {}
    if image:
        sizes["image"] = TowerSize(image_layers, image_width)
    if text:
        sizes["text"] = TowerSize(text_layers, text_width)
    if not sizes:
        raise ValueError("an adapter needs at least one tower to adapt; both image and text are False")
    return sizes


class Adapter(nn.Module):
    """Changes what frozen towers compute by a small trainable module.

    A subclass's constructor takes its own options, each with a default, and these, by keyword, which whoever builds
    it fills in (:func:`~hclip_mmseg.adapters.build.build_adapter`): ``image_layers``, ``text_layers``, ``image_width``,
    ``text_width`` (numbers of blocks and widths of tokens of CLIP's towers) and ``image``, ``text`` (whether a tower is
    adapted, True by default); :func:`tower_sizes` reads them. It may assume positive numbers, may draw random numbers
    (they are drawn aside), raises ValueError on options that do not fit, and does not see CLIP's weights; these come
    once, by :meth:`start_from`. A tower that is not adapted is left as it is. All parameters are trained unless the
    constructor freezes them.

    A subclass that changes projections writes :meth:`adapted_weight`; where there is a cheaper way to the
    projection's output than through the adapted weight, it writes :meth:`linear` too. One that changes
    more writes :meth:`mlp`, :meth:`normed`, :meth:`prompts` or :meth:`side`, and either :meth:`folded_block` or,
    where it is no change of weights, ``foldable = False``. One whose parameters act in one operation alone says so
    in :meth:`parameters_at`, so that those of operations that a model never runs are not counted as if they did.
    One that can be used in part says ``has_strength = True`` and computes with :meth:`part`.
    Subclasses that hold something between calls write :meth:`refresh`, :meth:`settle` and :meth:`forget`. By default
    each of these leaves the towers as they are.

    Attributes:
        foldable: whether :meth:`folded` gives a tower that computes the same without the adapter. Where it
            does not, the adapter runs in inference too.
        has_strength: whether :attr:`strength` may be other than 1.
        takes_rounded: whether the frozen weights that its methods get under autocast may be in autocast's dtype, as
            they may where they go into a product unchanged.
    """

    foldable: ClassVar[bool] = True
    has_strength: ClassVar[bool] = False
    takes_rounded: ClassVar[bool] = False
    _strength: float = 1.0

    @property
    def strength(self) -> float:
        """Alpha in [0, 1], how much of what was trained is used: 0 is plain CLIP, 1 all of it.

        For inference, after WiSE-FT (Wortsman et al., arXiv 2109.01903, section 3), which steps between weights.
        Whoever holds what was computed with the adapter has to forget it when this is set.
        """
        return self._strength

    @strength.setter
    def strength(self, strength: float) -> None:
        if not 0 <= strength <= 1:
            raise ValueError(f"strength is between 0, plain CLIP, and 1, what was trained, not {strength}")
        if strength != 1 and not self.has_strength:
            raise ValueError(f"{type(self).__name__} has no strength: it is used as it was trained, with strength 1")
        self._strength = strength
        self.forget()

    def part(self, start: Tensor | float, trained: Tensor) -> Tensor:
        """What is computed with in the place of something trained: start + alpha (trained - start).

        Args:
            start: what it is in plain CLIP, or a number that stands for a tensor of it.
            trained: what was learnt.
        """
        return trained if self._strength == 1 else start + self._strength * (trained - start)

    def adapted_weight(self, tower: Tower, layer: int, projection: str, weight: Tensor) -> Tensor:
        """The weight that the projection is to be computed with.

        Args:
            tower: 'image' or 'text'.
            layer: index of the block in its tower, from 0.
            projection: 'q', 'k', 'v' or 'out'.
            weight: the frozen weight, [out, in].

        Returns:
            [out, in], in the dtype of ``weight``.
        """
        return weight

    def linear(
        self, tower: Tower, layer: int, projection: str, x: Tensor, weight: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """Output of the adapted projection.

        Args:
            tower, layer, projection, weight: see :meth:`adapted_weight`.
            x: [..., in].
            bias: [out] or None.

        Returns:
            [..., out].
        """
        return F.linear(x, self.adapted_weight(tower, layer, projection, weight), bias)

    def normed(self, tower: Tower, layer: int | None, norm: Norm, x: Tensor) -> Tensor:
        """What stands for the output of a layer norm; the default is the output itself.

        Args:
            tower: 'image' or 'text'.
            layer: index of the block in its tower, from 0; None for the norms outside of the blocks.
            norm: which norm it was.
            x: its output, [..., width].

        Returns:
            [..., width].
        """
        return x

    def mlp(self, tower: Tower, layer: int, mlp: nn.Module, x: Tensor) -> Tensor:
        """Output of a block's MLP; the default is that of the frozen one.

        Args:
            tower, layer: see :meth:`adapted_weight`.
            mlp: CLIP's own, ``c_fc``, ``gelu``, ``c_proj``.
            x: [..., width].

        Returns:
            [..., width].
        """
        output: Tensor = mlp(x)
        return output

    def prompts(self, tower: Tower, layer: int) -> Tensor | None:
        """Tokens [n, width] that a block's other tokens attend to, before all of them; the default is none.

        They go into the block at this layer only: nothing is computed of them but keys and values.
        """
        return None

    def side(self, tower: Tower, states: Sequence[Tensor]) -> Tensor:
        """What stands for the last block's output; the default is the output itself.

        Args:
            tower: 'image' or 'text'.
            states: [batch, length, width] after each block.

        Returns:
            [batch, length, width].
        """
        return states[-1]

    @property
    def has_side(self) -> bool:
        """Whether a subclass wrote :meth:`side`, which then has to be given all tokens of all blocks."""
        return getattr(self.side, "__func__", None) is not Adapter.side

    def folded(self, tower: Tower, frozen: FoldableTower) -> dict[str, Tensor]:
        """The parameters that differ from a tower's own once the adapter is folded into them.

        Args:
            tower: 'image' or 'text'.
            frozen: the tower.

        Returns:
            name in the tower, which is open_clip's -> the parameter.

        Raises:
            ValueError: if the adapter cannot be folded.
        """
        if not self.foldable:
            raise ValueError(
                f"{type(self).__name__} cannot be folded into CLIP's weights: what it computes is no change of "
                "weights. It is used unfolded, with its own config"
            )
        return {
            name: parameter
            for layer, block in enumerate(frozen.blocks)
            for name, parameter in frozen.own_parameters(layer, self.folded_block(tower, layer, block)).items()
        }

    def folded_block(self, tower: Tower, layer: int, block: Block) -> dict[str, Tensor]:
        """The part of :meth:`folded` that lies in one block; the default is its four adapted projections.

        Returns:
            open_clip's name in the block, such as 'attn.in_proj_weight' -> the parameter.
        """
        attention = block.attn
        rows = attention.in_proj_weight.chunk(3)
        adapted = [
            self.adapted_weight(tower, layer, projection, weight)
            for projection, weight in zip(PROJECTIONS, rows, strict=False)
        ]
        out = self.adapted_weight(tower, layer, "out", attention.out_proj.weight)
        return {"attn.in_proj_weight": torch.cat(adapted), "attn.out_proj.weight": out}

    def start_from(self, blocks: Mapping[Tower, Sequence[Block]]) -> None:
        """Take what is needed of CLIP's weights, once, when the model is built; the default is nothing.

        Args:
            blocks: the blocks of each tower, first to last.

        Raises:
            ValueError: if the adapter does not fit them.
        """

    def without_norm(self, tower: Tower, norm: Norm) -> None:
        """Take note, once, that a tower has not one of the norms outside its blocks; the default is nothing."""

    def parameters_at(self, at: BlockOperation) -> list[Numbers]:
        """The trained numbers that act in one operation of one block and nowhere else; the default is none."""
        return []

    def dead_parameters(self, unused: Iterable[BlockOperation] = ()) -> list[Numbers]:
        """The trained numbers that change nothing, whatever they are.

        Args:
            unused: the operations that the model never runs.

        Returns:
            Each number once.
        """
        return [numbers for at in unused for numbers in self.parameters_at(at)]

    def refresh(self) -> None:
        """Compute again what is held between calls; the default holds nothing."""

    def settle(self) -> None:
        """Use what is held without comparing parameters, until :meth:`forget`; the default holds nothing."""

    def forget(self) -> None:
        """Drop what is held between calls; the default holds nothing."""
