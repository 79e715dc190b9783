"""The benchmarks' vocabularies, one JSON file each in this folder, and what published methods make of them."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib.resources import files

from hclip_mmseg.files.near_names import did_you_mean, near_names
from hclip_mmseg.vocabularies.aliases import VOCABULARY_OF, canonical_name, plain_spelling
from hclip_mmseg.vocabularies.styles import AT, available_styles, in_style, lists_of
from hclip_mmseg.vocabularies.vocabulary import Vocabulary


@lru_cache(maxsize=1)
def available_vocabularies() -> tuple[str, ...]:
    """The names that `load_vocabulary` takes, in canonical spelling: benchmarks' lists, and each in its styles."""
    styled = (f"{name}{AT}{style}" for style in available_styles() for name in lists_of(style))
    return tuple(sorted((*_benchmarks_lists(), *styled)))


@lru_cache(maxsize=1)
def _benchmarks_lists() -> tuple[str, ...]:
    stored = (entry.name for entry in files(__package__).iterdir() if entry.name.endswith(".json"))
    return tuple(sorted(name.removesuffix(".json") for name in stored))


def load_vocabulary(name: str) -> Vocabulary:
    """Read a benchmark's vocabulary, such as "ade20k_150", or what a method asks instead: "ade20k_150@fc-clip".

    Its titles are all synonyms of every class behind commas; no two classes share a title. A model that is asked for a
    title takes its first synonym, as most published evaluations do; see ``Vocabulary.whole``. Of two classes with the
    same first synonym it then scores both alike, and the first of them is predicted.

    Args:
        name: in any spelling, see :func:`~hclip_mmseg.vocabularies.aliases.canonical_name`.

    Raises:
        KeyError: if there is none of that name; the message lists those there are.
    """
    canonical = canonical_name(name)
    benchmark, _, style = canonical.partition(AT)
    if canonical not in available_vocabularies():
        raise KeyError(_unknown(name, benchmark, style))
    stored = json.loads(files(__package__).joinpath(f"{benchmark}.json").read_text(encoding="utf-8"))
    vocabulary = Vocabulary(
        titles=tuple(", ".join(synonyms) for synonyms in stored["classes"]),
        name=benchmark,
        source=stored["source"],
        background_from=stored.get("background_from"),
        categories=tuple(stored["categories"]) if "categories" in stored else None,
        members=tuple(tuple(entry) for entry in stored["members"]) if "members" in stored else None,
        stuff=tuple(stored["stuff"]) if "stuff" in stored else None,
    )
    return in_style(vocabulary, style) if style else vocabulary


def styled_name(benchmark: str, style: str | None) -> str:
    """The name of a benchmark's list in a style; the benchmark's own where the style has none.

    Raises:
        KeyError: if there is no such style.
    """
    return f"{benchmark}{AT}{style}" if style is not None and benchmark in lists_of(style) else benchmark


def near_benchmarks(name: str, alone: bool = False) -> list[str]:
    """Names of benchmarks' lists that a text was probably meant for; none for what may be a class name.

    "ade20k_848" and "A-848" are nearly names of lists, "pascal voc" is how several begin.

    Args:
        name: the text.
        alone: whether there is nothing beside it; "cityscape" then is nearly a list's name too.
    """
    plain = plain_spelling(name)
    known = {**{each: each for each in _benchmarks_lists()}, **{plain_spelling(each): each for each in VOCABULARY_OF}}
    begins = [known[each] for each in known if each.startswith(f"{plain}_") and ("_" in plain or plain[-1:].isdigit())]
    if begins:
        return begins
    if not re.search(r"[_@]|\d", name):
        return [known[each] for each in near_names(plain, known, nearness=0.92)] if alone else []
    return [known[each] for each in near_names(plain.partition(AT)[0], known, nearness=0.75)]


def _unknown(name: str, benchmark: str, style: str) -> str:
    known = _benchmarks_lists()
    if style and benchmark in known:
        of_this = [each.partition(AT)[2] for each in available_vocabularies() if each.startswith(f"{benchmark}{AT}")]
        return f"no vocabulary '{name}': {benchmark} is there in the styles {', '.join(of_this) or 'of nobody'}"
    hint = did_you_mean(benchmark, known, nearness=0.4)
    return f"no vocabulary '{name}'{hint} (there are: {', '.join(known)}; and BENCHMARK{AT}STYLE)"
