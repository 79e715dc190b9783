"""What `tools/prepare_dataset.py` can prepare, by name."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from hclip_mmseg.datasets import preparation
from hclip_mmseg.datasets.benchmark import same_name
from hclip_mmseg.datasets.preparation.declaration import Preparation


def _declared() -> dict[str, Preparation]:
    """The entries of ``PREPARATIONS`` in this folder's modules."""
    modules = [
        import_module(f"{preparation.__name__}.{info.name}")
        for info in iter_modules(preparation.__path__)
        if info.name != "registry"
    ]
    return {entry.name: entry for module in modules for entry in getattr(module, "PREPARATIONS", ())}


PREPARATIONS = _declared()


def find_preparation(name: str) -> Preparation:
    """The preparation of that name, or of the benchmark of that name, in any spelling.

    Raises:
        KeyError: if there is none; the message lists those there are.
    """
    called = [entry for entry in PREPARATIONS.values() if same_name(entry.name, name)]
    called += [entry for entry in PREPARATIONS.values() if any(known.is_called(name) for known in entry.benchmarks)]
    if not called:
        benchmarks = ", ".join(known.name for entry in PREPARATIONS.values() for known in entry.benchmarks)
        raise KeyError(f"no preparation '{name}'; there are {', '.join(PREPARATIONS)}, and the benchmarks {benchmarks}")
    return called[0]
