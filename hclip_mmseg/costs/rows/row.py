"""One measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Step = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """What is timed, in two forms that are compared.

    Attributes:
        name: as given on the command line.
        prepare: (form, device) -> the function to be timed; ``form`` is 'ours' or the other one.
        other: the form that ours is compared with: 'direct', the equations written out; 'frozen', plain CLIP; 'fp32',
            ours without bfloat16; 'unbounded', ours without the row's bound of memory; 'apart', ours image by image.
        training: whether gradients are wanted.
        time_target, memory_target: what ours may cost at most, as a part of the other form; None for no target.
        gpu: whether only those measure it who name it or have a GPU.
        plot: (panel, place on its x axis) for each panel of the plot that it stands in, such as ('names', 150).
    """

    name: str
    prepare: Callable[[str, str], Step]
    other: str = "direct"
    training: bool = False
    time_target: float | None = None
    memory_target: float | None = None
    gpu: bool = False
    plot: tuple[tuple[str, int], ...] = ()

    def bf16(self, form: str) -> bool:
        """Whether a form runs under bfloat16 autocast: ours does where the other one is 'fp32'."""
        return form == "ours" and self.other == "fp32"
