"""The benchmarks' vocabularies, one JSON file each in this folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files


@dataclass(frozen=True)
class Vocabulary:
    """The classes of a benchmark in label order.

    Attributes:
        name: what `load_vocabulary` knows it by.
        source: which data set, and which release of it.
        synonyms: for every class all its names; the first is the one it is asked for by.
        background_from: predictions of this class index and above count as background; None: there is none.
    """

    name: str
    source: str
    synonyms: tuple[tuple[str, ...], ...]
    background_from: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The first synonym of every class. In ADE20K's full list some are shared by two classes."""
        return tuple(synonyms[0] for synonyms in self.synonyms)

    def __len__(self) -> int:
        return len(self.synonyms)


def available_vocabularies() -> tuple[str, ...]:
    """The names that `load_vocabulary` takes."""
    stored = (entry.name for entry in files(__package__).iterdir() if entry.name.endswith(".json"))
    return tuple(sorted(name.removesuffix(".json") for name in stored))


def load_vocabulary(name: str) -> Vocabulary:
    """Read a benchmark's vocabulary.

    Raises:
        KeyError: if there is none of that name; the message lists those there are.
    """
    known = available_vocabularies()
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise KeyError(f"no vocabulary '{name}'{hint} (there are: {', '.join(known)})")
    stored = json.loads(files(__package__).joinpath(f"{name}.json").read_text(encoding="utf-8"))
    synonyms = tuple(tuple(entry) for entry in stored["classes"])
    return Vocabulary(name, stored["source"], synonyms, stored.get("background_from"))
