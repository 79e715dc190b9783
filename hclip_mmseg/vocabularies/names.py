"""Class names as people give them: a text, a file, a benchmark's name or a list becomes a vocabulary."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.vocabularies.aliases import canonical_name
from hclip_mmseg.vocabularies.benchmarks import available_vocabularies, load_vocabulary
from hclip_mmseg.vocabularies.vocabulary import Vocabulary, as_vocabulary, check_names

_FILE = re.compile(r"[^,\n]+\.(txt|csv|tsv|lst|list|names)")


def read_vocabulary(source: str | Path | Vocabulary | Sequence[str], *, repeats: bool = False) -> Vocabulary:
    """A vocabulary from whatever a person gives. Texts are parsed here and nowhere else.

    - a text: "cat, grass, traffic light", commas or line ends between the classes;
    - a file: one class a line; where synonyms follow it behind commas, the first is the name; empty lines and
      lines that begin with # are passed over; a single line with commas is refused, as it may mean either;
    - the name of a benchmark's vocabulary in any spelling, for instance "coco_stuff_171" or "A-847": its titles,
      synonyms behind commas;
    - a list or tuple of class names; or a vocabulary, which stays as it is.

    Args:
        source: one of these.
        repeats: whether a list or tuple may hold the same name twice, as some benchmarks do.

    Raises:
        FileNotFoundError: if the source looks like a file and there is none.
        ValueError: if the names are not a vocabulary, see `check_names`, or a text is nearly the name of a list.
    """
    if not isinstance(source, (str, Path)):
        return as_vocabulary(source, repeats=repeats)
    text = str(source).strip()
    path = Path(text)
    if isinstance(source, Path) or _FILE.fullmatch(text) or ("," not in text and _is_file(path)):
        return _read_file(path)
    if os.sep in text and "," not in text and os.path.lexists(text):
        raise InputError(f"{text} is no file of class names")
    if canonical_name(text) in available_vocabularies():
        return load_vocabulary(text)
    near = get_close_matches(text, available_vocabularies(), n=1, cutoff=0.8) if "_" in text else []
    if near:
        raise InputError(f"no vocabulary '{text}'; did you mean '{near[0]}'?")
    return as_vocabulary([name for line in text.splitlines() if line.strip() for name in line.split(",")])


def read_names(source: str | Path | Vocabulary | Sequence[str]) -> tuple[str, ...]:
    """The titles of what :func:`read_vocabulary` reads."""
    return read_vocabulary(source).titles


def _read_file(path: Path) -> Vocabulary:
    if not _is_file(path):
        raise FileNotFoundError(f"no file of class names at {path.absolute()}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text file in UTF-8, so class names cannot be read from it") from error
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) == 1 and "," in lines[0]:
        raise InputError(
            f"{path} has one line with commas: in a file every class has a line of its own, and what follows a comma "
            "is another name of that class; break the line, or give its text instead of the file"
        )
    try:
        return Vocabulary(check_names([line.split(",")[0] for line in lines]), source=str(path))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text too long for a path
        return False
