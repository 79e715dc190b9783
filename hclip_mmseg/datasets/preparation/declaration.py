"""How a module of this folder declares what it prepares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hclip_mmseg.datasets.benchmark import Benchmark
from hclip_mmseg.datasets.preparation.conversion import Conversion, LabelMapsError, carry_out
from hclip_mmseg.datasets.preparation.processes import Options


@dataclass(frozen=True)
class Preparation:
    """One data set's preparation, an entry of a module's ``PREPARATIONS``.

    Attributes:
        name: what ``tools/prepare_dataset.py`` knows it by.
        layout: what must lie in its folder before, in a line.
        run: (folder, options) -> what was done, a line each; see :func:`~.conversion.carry_out` for the errors.
        benchmarks: those that read what it makes.
    """

    name: str
    layout: str
    run: Callable[[Path, Options], list[str]]
    benchmarks: tuple[Benchmark, ...] = ()


def converts(plan: Callable[[Path], list[Conversion]]) -> Callable[[Path, Options], list[str]]:
    """A preparation's ``run`` that carries out the conversions that a data set's folder needs.

    Args:
        plan: folder -> its conversions.
    """
    return partial(_carry_out_all, plan)


def _carry_out_all(plan: Callable[[Path], list[Conversion]], root: Path, options: Options) -> list[str]:
    lines, wrong = [], []
    for conversion in plan(root):
        try:
            lines += carry_out(conversion, options)
        except LabelMapsError as error:
            wrong.append(str(error))
    if wrong:
        raise LabelMapsError("\n".join(wrong))
    return lines
