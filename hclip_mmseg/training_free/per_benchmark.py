"""Settings that a method's authors chose benchmark by benchmark."""

from __future__ import annotations

from collections.abc import Mapping

from hclip_mmseg.vocabularies.aliases import VOCABULARY_OF, canonical_name

Setting = float | Mapping[str, float]
"""A number for all benchmarks, or ``{"default": 0.25, "VOC21": 0.5}``."""


class PerBenchmark:
    """A number that may differ between benchmarks.

    Args:
        setting: see :data:`Setting`; names of benchmarks in any spelling.
        name: of the setting, for errors.

    Raises:
        ValueError: on an unknown benchmark, or benchmarks without a ``default`` for what is none of them.
    """

    def __init__(self, setting: Setting, name: str) -> None:
        self._of: dict[str, float] = {}
        if not isinstance(setting, Mapping):
            self._default = float(setting)
            return
        if "default" not in setting:
            raise ValueError(f"{name} has numbers for benchmarks: give it a number for others too, default=...")
        self._default = float(setting["default"])
        for benchmark, number in setting.items():
            listed = canonical_name(benchmark)
            if benchmark != "default" and listed not in VOCABULARY_OF.values():
                raise ValueError(f"{name}: no benchmark {benchmark!r}; see --benchmarks for their names")
            self._of[listed] = float(number)

    def at(self, benchmark: str) -> float:
        """The number for a benchmark, by the name of its list of class names."""
        return self._of.get(benchmark, self._default)
