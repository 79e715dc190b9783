"""The known names that a mistyped one was probably meant for, and how a message asks about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches


def near_names(word: str, known: Iterable[str], nearness: float = 0.6, most: int = 1) -> list[str]:
    """The known names that are most like a word, the nearest first; capitals do not matter.

    Args:
        word: that is not among them.
        known: the names.
        nearness: least likeness of a name, from 0 (nothing in common) to 1 (equal); see ``difflib``.
        most: how many names.
    """
    names = {name.lower(): name for name in known}
    return [names[found] for found in get_close_matches(word.lower(), names, n=most, cutoff=nearness)]


def did_you_mean(
    word: str, known: Iterable[str], nearness: float = 0.6, most: int = 1, say: Callable[[str], str] = str
) -> str:
    """``; did you mean 'X'?`` where known names are much like a word, else nothing.

    Args:
        word, known, nearness, most: see `near_names`.
        say: name -> what the message says for it.
    """
    return question([say(name) for name in near_names(word, known, nearness, most)])


def question(names: Sequence[str]) -> str:
    """``; did you mean 'X' or 'Y'?``, nothing where there are no names."""
    return f"; did you mean {' or '.join(map(repr, names))}?" if names else ""
