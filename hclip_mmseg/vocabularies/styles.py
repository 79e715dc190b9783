"""What published methods ask for where it is not the benchmark's own list: one JSON file for each style.

A style is the way of one method's published code. Its file says for each benchmark which titles it changes:

- ``lists``: name of the benchmark's list -> title in that list -> the style's title; an empty entry: nothing changes.
  A change of "background" stands for all names that the benchmark's own list asks background by.
- ``prompts``: "whole": a title goes into the prompt with its commas; "each": every name of a class is asked for by
  itself, and the class takes the pixels of all of them. Without it a title is names of one class, as everywhere.
- ``also``: methods whose code takes the lists over.
- ``base``: the style that holds for whatever the file leaves out.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from typing import Any

from hclip_mmseg.vocabularies.vocabulary import Vocabulary

AT = "@"
"""Between a benchmark's list and a style: "ade20k_150@fc-clip"."""


@lru_cache(maxsize=1)
def _stored() -> dict[str, dict[str, Any]]:
    entries = [entry for entry in files(__package__).joinpath("styles").iterdir() if entry.name.endswith(".json")]
    files_of = {entry.name.removesuffix(".json"): json.loads(entry.read_text(encoding="utf-8")) for entry in entries}
    found: dict[str, dict[str, Any]] = {}
    for name, style in files_of.items():
        base = files_of.get(style.get("base"), {"lists": {}})
        whole = {**base, **style, "lists": {**base["lists"], **style["lists"]}}
        found |= dict.fromkeys((name, *style.get("also", ())), whole)
    return found


def available_styles() -> tuple[str, ...]:
    """The methods whose published lists are known."""
    return tuple(sorted(_stored()))


def lists_of(style: str) -> tuple[str, ...]:
    """The benchmarks' lists that a style has its own form of.

    Raises:
        KeyError: if there is no such style; the message lists those there are.
    """
    if style not in _stored():
        raise KeyError(f"no style '{style}' of class lists (there are: {', '.join(available_styles())})")
    return tuple(_stored()[style]["lists"])


def in_style(vocabulary: Vocabulary, style: str) -> Vocabulary:
    """A benchmark's vocabulary as a method's published code asks for it.

    Args:
        vocabulary: the benchmark's own.
        style: one of :func:`available_styles` whose lists hold it, see :func:`lists_of`.

    Raises:
        KeyError: if the style or its list does not exist.
    """
    if vocabulary.name not in lists_of(style):
        raise KeyError(f"the style '{style}' has no list of its own for {vocabulary.name}")
    stored = _stored()[style]
    changes: dict[str, str] = stored["lists"][vocabulary.name]
    own_background = "background" in changes
    before = vocabulary.classes if own_background else vocabulary.titles
    titles = tuple(changes.get(title, title) for title in before)
    stuff = None
    if vocabulary.stuff is not None:
        stuff = tuple(title for title, thing in zip(titles, vocabulary.things, strict=True) if not thing)
    asked_apart = stored.get("prompts") == "each" and any("," in title for title in titles)
    styled = replace(
        vocabulary,
        name=f"{vocabulary.name}{AT}{style}",
        source=stored["source"],
        titles=titles,
        background_from=None if own_background else vocabulary.background_from,
        categories=vocabulary.categories or (None if vocabulary.background_from is not None else vocabulary.names),
        stuff=stuff,
        whole=stored.get("prompts") == "whole",
    )
    return replace(styled, members=styled.synonyms) if asked_apart else styled
