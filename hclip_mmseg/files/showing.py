"""Texts of others, as a terminal and a page may show them."""

from __future__ import annotations

import unicodedata

KEPT = "\n\t"


def printable(text: object) -> str:
    """A text in which nothing steers the terminal or turns the writing around.

    Control and format characters, bidirectional ones and parts of broken encodings become escapes such as ``\\x1b``.
    """
    return "".join(
        character if character in KEPT or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn")
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in str(text)
    )  # fmt: skip


def with_article(noun: str) -> str:
    """A noun or a class's name with "a" or "an" before it, by its first letter."""
    return f"{'an' if noun[:1].lower() in tuple('aeiou') else 'a'} {noun}"


def counted(number: int, one: str, several: str = "") -> str:
    """A number of things, such as "1 image" and "1,200 images".

    Args:
        number: how many.
        one: what one of them is called.
        several: what they are called; "": the same with an s.
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"
