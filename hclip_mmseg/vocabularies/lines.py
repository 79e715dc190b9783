"""Class names in text: a name a line, numbered or not, with synonyms, or a table with a heading."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.vocabularies.entries import title_of

NAME_HEADINGS = ("class name", "display name", "label name", "category name", "name", "names", "title", "class",
                 "classes", "category", "label", "labels")  # fmt: skip
"""Headings of the column that has the names, the surest first."""
NUMBER_HEADINGS = ("id", "idx", "index", "no", "nr", "number", "class id", "label id", "category id", "train id", "#")
SYNONYM_HEADINGS = ("synonyms", "synonym", "aliases")
_NUMBERED = re.compile(r"\s*(\d+)\s*([:=,\t)]|\.(?=\s)|\s)\s*(\S.*)")


def names_of_lines(lines: Sequence[str]) -> list[tuple[str, ...]]:
    """The names of classes from lines, a class each.

    Numbers before all names ("0: wall", "1 sky") give the order. Names behind ",", ";" or "=", or behind the ":" of
    "wall: brick wall", are others of the same class; in a line with ";" a comma is part of a name.

    Args:
        lines: without empty ones and comments.
    """
    return [_names(line) for line in _in_order(lines)]


def _names(line: str) -> tuple[str, ...]:
    marks = r"[;=]|:(?=\s|$)" if ";" in line else r"[,=]|:(?=\s|$)"
    return tuple(name for text in re.split(marks, line) if (name := " ".join(text.split()))) or (line,)


def _in_order(lines: Sequence[str]) -> list[str]:
    found = [_NUMBERED.fullmatch(line) for line in lines]
    numbered = [(int(match[1]), match[2], match[3]) for match in found if match is not None]
    numbers = [number for number, _, _ in numbered]
    if len(numbered) < len(lines) or len(set(numbers)) < len(numbers) or len(lines) < 2:
        return list(lines)
    loose = any(separator.isspace() and separator != "\t" for _, separator, _ in numbered)
    if loose and sorted(numbers) not in (list(range(len(lines))), list(range(1, len(lines) + 1))):
        return list(lines)  # "2 door car" is a name
    return [name for _, _, name in sorted(numbered)]


def is_table(lines: Sequence[str], likely: bool = False) -> bool:
    """Whether the first line is a heading.

    Args:
        lines: at least one.
        likely: whether the file's ending says so: several columns are enough then, or a heading of names; else there
            must be one of names, and numbers or tabs beside.
    """
    cells = [_plain(cell) for cell in _rows(lines[:1])[0]]
    named = any(cell in NAME_HEADINGS for cell in cells)
    if likely:
        return len(cells) > 1 or named
    return len(cells) > 1 and named and ("\t" in lines[0] or any(cell in NUMBER_HEADINGS for cell in cells))


def titles_of_table(lines: Sequence[str], column: str | None = None) -> list[str]:
    """Titles from a table with commas, semicolons or tabs between its columns.

    Args:
        lines: the heading first, without empty lines.
        column: heading of the column that has the names; None: it is found by its heading.

    Raises:
        ValueError: if no heading, or none of them surely, is that of names; which headings there are.
    """
    headings, *rows = _rows(lines)
    plain = [_plain(heading) for heading in headings]
    place = _place_of_names(plain, rows) if column is None else None
    if column is not None and _plain(column) in plain:
        place = plain.index(_plain(column))
    if place is None:
        asked = "the column of the names is not clear" if column is None else f"there is no column '{column}'"
        raise InputError(f"{asked}; its first line has: {', '.join(headings)}")
    others = [index for index, heading in enumerate(plain) if heading in SYNONYM_HEADINGS and index != place]
    short = next((number for number, row in enumerate(rows, 2) if len(row) <= place), None)
    if short is not None:
        raise InputError(f"line {short} has no column '{headings[place]}'")
    synonyms = [[name for index in others for cell in row[index : index + 1] for name in _parts(cell)] for row in rows]
    return [title_of([*_parts(row[place]), *own]) for row, own in zip(rows, synonyms, strict=True)]


def _place_of_names(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> int | None:
    for heading in NAME_HEADINGS:
        places = [
            place
            for place, own in enumerate(headings)
            if own == heading and not all(row[place].strip().isdecimal() for row in rows if len(row) > place)
        ]
        if places:
            return places[0] if len(places) == 1 else None
    return None


def _rows(lines: Sequence[str]) -> list[list[str]]:
    delimiter = max("\t;,", key=lambda mark: (lines[0].count(mark) > 0, mark == "\t", lines[0].count(mark)))
    return [row for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if any(map(str.strip, row))]


def _plain(heading: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", heading.strip())
    return " ".join(spaced.lower().replace("_", " ").replace("-", " ").split())


def _parts(cell: str) -> list[str]:
    return [part for text in re.split(r"[,;]", cell) if (part := text.strip())]
