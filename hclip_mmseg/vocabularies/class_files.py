"""Class lists as the training-free methods' code keeps them: ``cls_<data set>.txt``, a class a line."""

from __future__ import annotations

from pathlib import Path

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.vocabularies.list_files import read_text
from hclip_mmseg.vocabularies.vocabulary import Vocabulary, check_names

SEPARATORS = ("; ", ", ", ";", ",")
"""What stands between the names of a class; the first that a line holds counts."""


def read_class_file(path: str | Path, background: bool = False) -> Vocabulary:
    """A vocabulary in which every name of a class is asked for by itself.

    Args:
        path: a text file in UTF-8; every line is a class in the data set's order, its names behind separators.
        background: whether the first line is of names that mean background.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a line holds no name, or the file is no text.
    """
    path = Path(path)
    lines = read_text(path).splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    members = []
    for number, line in enumerate(lines, 1):
        separator = next((mark for mark in SEPARATORS if mark in line), None)
        names = [name.strip() for name in line.split(separator)] if separator else [line.strip()]
        names = [name for name in names if name]
        if not names:
            raise InputError(f"{path}, line {number}: no class name")
        members.append(tuple(names))
    asked = [name for names in members for name in names]
    try:
        check_names(asked, repeats=True)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    categories = tuple("background" if background and index == 0 else names[0] for index, names in enumerate(members))
    titles = tuple(", ".join(names) for names in members)
    return Vocabulary(titles, source=str(path), members=tuple(members), categories=categories, repeats=True)
