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
        categories: what the data set itself calls the classes, where that is no word ("sky-other-merged").
        members: for every class the names that it is made of and asked for by; None: it is asked for by its own.
        stuff: those of the names that are not counted one by one; None: nobody says.
    """

    name: str
    source: str
    synonyms: tuple[tuple[str, ...], ...]
    background_from: int | None = None
    categories: tuple[str, ...] | None = None
    members: tuple[tuple[str, ...], ...] | None = None
    stuff: tuple[str, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The first synonym of every class. In ADE20K's full list some are shared by two classes."""
        return tuple(synonyms[0] for synonyms in self.synonyms)

    @property
    def titles(self) -> tuple[str, ...]:
        """All synonyms of every class behind commas; no two classes share a title.

        A model that is asked for a title takes its first synonym, as the published evaluations do. Of two classes
        with the same first synonym it then scores both alike, and the first of them is predicted.
        """
        return tuple(", ".join(synonyms) for synonyms in self.synonyms)

    @property
    def asked(self) -> tuple[str, ...]:
        """What a model is asked for."""
        if self.members is None:
            return self.titles
        return tuple(name for members in self.members for name in members)

    @property
    def classes(self) -> tuple[str, ...]:
        """What is evaluated; the background comes first, where there is one."""
        if self.background_from is None:
            return self.titles
        return ("background", *self.titles[: self.background_from])

    @property
    def folds(self) -> tuple[int, ...] | None:
        """For every name that is asked for the class it counts as; None: they are the same."""
        if self.background_from is not None:
            return tuple(i + 1 if i < self.background_from else 0 for i in range(len(self)))
        if self.members is not None:
            return tuple(index for index, members in enumerate(self.members) for _ in members)
        return None

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
    categories = tuple(stored["categories"]) if "categories" in stored else None
    members = tuple(tuple(entry) for entry in stored["members"]) if "members" in stored else None
    stuff = tuple(stored["stuff"]) if "stuff" in stored else None
    return Vocabulary(name, stored["source"], synonyms, stored.get("background_from"), categories, members, stuff)
