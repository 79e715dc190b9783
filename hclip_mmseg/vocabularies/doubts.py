"""Class names that are probably none: syntax, numbers, a benchmark's or a file's name."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SYNTAX = re.compile(r"""[\[\]{}<>"|\\;=]|_|:$|^[-*#]|^\d+\s*:|/.*\.\w+$""")
_STOPS = re.compile(r"\s\.\s|\w{3}\.\s.*\w\.$")
""""cat . dog ." and "cat. dog.", as some detectors are asked."""


def looks_like_syntax(name: str) -> bool:
    """Whether a name holds brackets, quotes, underscores or other marks of a file's form."""
    return _SYNTAX.search(name) is not None


def doubts_about(titles: Sequence[str]) -> str | None:
    """A line about names that look like syntax, have full stops between words, or no letter; None if there are none.

    Args:
        titles: the classes', synonyms behind commas.
    """
    odd = [title for title in titles if looks_like_syntax(title)]
    stops = [title for title in titles if title not in odd and _STOPS.search(title)]
    numbers = [title for title in titles if not any(character.isalpha() for character in title)]
    said = [
        f"{_some(names)} {what}"
        for names, what in (
            (odd, "look like a file's syntax"),
            (stops, "have full stops between words, where names take commas"),
            ([n for n in numbers if n not in odd + stops], "hold no letter"),
        )
        if names
    ]
    return f"class names that are probably none: {'; '.join(said)}; CLIP reads words" if said else None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(repr(name) for name in names[:3]) + more
