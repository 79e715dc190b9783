"""The benchmarks' vocabularies, one JSON file each in this folder."""

from __future__ import annotations

import json
from difflib import get_close_matches
from importlib.resources import files

from hclip_mmseg.vocabularies.aliases import canonical_name
from hclip_mmseg.vocabularies.vocabulary import Vocabulary


def available_vocabularies() -> tuple[str, ...]:
    """The names that `load_vocabulary` takes, in their canonical spelling."""
    stored = (entry.name for entry in files(__package__).iterdir() if entry.name.endswith(".json"))
    return tuple(sorted(name.removesuffix(".json") for name in stored))


def load_vocabulary(name: str) -> Vocabulary:
    """Read a benchmark's vocabulary.

    Its titles are all synonyms of every class behind commas; no two classes share a title. A model that is asked for a
    title takes its first synonym, as the published evaluations do. Of two classes with the same first synonym it then
    scores both alike, and the first of them is predicted.

    Args:
        name: in any spelling, see :func:`~hclip_mmseg.vocabularies.aliases.canonical_name`.

    Raises:
        KeyError: if there is none of that name; the message lists those there are.
    """
    known, canonical = available_vocabularies(), canonical_name(name)
    if canonical not in known:
        near = get_close_matches(canonical, known, n=1, cutoff=0.4)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise KeyError(f"no vocabulary '{name}'{hint} (there are: {', '.join(known)})")
    stored = json.loads(files(__package__).joinpath(f"{canonical}.json").read_text(encoding="utf-8"))
    return Vocabulary(
        titles=tuple(", ".join(synonyms) for synonyms in stored["classes"]),
        name=canonical,
        source=stored["source"],
        background_from=stored.get("background_from"),
        categories=tuple(stored["categories"]) if "categories" in stored else None,
        members=tuple(tuple(entry) for entry in stored["members"]) if "members" in stored else None,
        stuff=tuple(stored["stuff"]) if "stuff" in stored else None,
    )
