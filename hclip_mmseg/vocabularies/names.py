"""Class names as people give them: checked, and read from the command line or a file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from hclip_mmseg.vocabularies.benchmarks import available_vocabularies, load_vocabulary

_FILE = re.compile(r"[^,\n]+\.(txt|csv|tsv|lst|list|names)")


def check_names(names: Sequence[str], *, repeats: bool = False) -> tuple[str, ...]:
    """Check a list of class names and strip the space around them; space inside, line ends too, becomes one blank.

    That a name fits CLIP's context is checked where it is tokenised.

    Args:
        names: at least one, none empty.
        repeats: whether two classes may have the same name, as in some benchmarks.

    Returns:
        The names as a tuple.

    Raises:
        ValueError: naming the first thing that is wrong and where it stands.
    """
    if isinstance(names, str):
        raise ValueError(f"class names must be a list of strings, not the one string {names!r}")
    names = tuple(names)
    if not names:
        raise ValueError("no class names given: at least one is needed")
    for position, name in enumerate(names):
        if not isinstance(name, str):
            raise ValueError(f"class name {position} is {name!r} of type {type(name).__name__}, not a string")
        if not name.strip():
            raise ValueError(f"class name {position} of {len(names)} is empty")
    names = tuple(" ".join(name.split()) for name in names)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice and not repeats:
        places = [position for position, name in enumerate(names) if name == twice[0]]
        raise ValueError(f"class name '{twice[0]}' is given {len(places)} times, at {places}; give it once")
    return names


def read_names(source: str | Path) -> tuple[str, ...]:
    """Class names from a text, a file, or a benchmark's list.

    - a text: "cat, grass, traffic light", commas or line ends between the classes;
    - a file: one class a line; where synonyms follow it behind commas, the first is the name; empty lines and
      lines that begin with # are passed over; a single line with commas is refused, as it may mean either;
    - the name of a benchmark's vocabulary, for instance "coco_stuff_171": its titles, synonyms behind commas.

    Raises:
        FileNotFoundError: if the source looks like a file and there is none.
        ValueError: if the names are not a vocabulary, see `check_names`, or one text is nearly the name of a list.
    """
    text = str(source).strip()
    path = Path(text)
    if isinstance(source, Path) or _FILE.fullmatch(text) or ("," not in text and _is_file(path)):
        return _read_file(path)
    if text in available_vocabularies():
        return load_vocabulary(text).titles
    near = get_close_matches(text, available_vocabularies(), n=1, cutoff=0.8) if "_" in text else []
    if near:
        raise ValueError(f"no vocabulary '{text}'; did you mean '{near[0]}'?")
    return check_names([name for line in text.splitlines() if line.strip() for name in line.split(",")])


def _read_file(path: Path) -> tuple[str, ...]:
    if not _is_file(path):
        raise FileNotFoundError(f"no file of class names at {path.absolute()}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text file in UTF-8, so class names cannot be read from it") from error
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) == 1 and "," in lines[0]:
        raise ValueError(
            f"{path} has one line with commas: in a file every class has a line of its own, and what follows a comma "
            "is another name of that class; break the line, or give its text instead of the file"
        )
    names = [line.split(",")[0] for line in lines]
    try:
        return check_names(names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text too long for a path
        return False
