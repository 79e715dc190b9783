"""Files of class names: text, JSON, CSV, YAML and Python's literals. What a file holds is read and never executed."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.near_names import did_you_mean
from hclip_mmseg.vocabularies.doubts import looks_like_syntax
from hclip_mmseg.vocabularies.entries import HOLDERS, Entries, entries_of, title_of
from hclip_mmseg.vocabularies.lines import is_table, names_of_lines, titles_of_table

TABLES = (".csv", ".tsv")
SUFFIXES = (".txt", ".lst", ".list", ".names", ".json", ".yaml", ".yml", ".py", *TABLES)
"""Endings of files that lists of names are kept in; others are read as text."""


def read_entries(path: Path, column: str | None = None) -> Entries:
    """The classes that a file lists; its form is told by its ending and its content.

    Args:
        path: the file.
        column: heading of the column of the names in a table; None: it is found.

    Raises:
        FileNotFoundError: if there is no such file; which has nearly its name.
        ValueError: if the file is of no form that is read: its first line.
    """
    text = read_text(path)
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    try:
        return _parsed(path, text, [line for line in lines if line.strip()], column)
    except (ValueError, SyntaxError, RecursionError, yaml.YAMLError) as error:
        why = (
            " ".join(str(error).split())
            if isinstance(error, InputError)
            else f"it cannot be read as {path.suffix or 'text'}"
        )
        asked = f"; name it by '{path}:COLUMN'" if "column" in why and path.suffix.lower() in TABLES else ""
        said = f"{path} is no list of class names of a known form: {why}{asked}; its first line is {first[:80]!r}"
        raise InputError(said) from error


def read_text(path: Path) -> str:
    """The text of a file of class names.

    Raises:
        FileNotFoundError: if there is no such file; which has nearly its name.
        ValueError: if it is no text in UTF-8.
    """
    if not is_file(path):
        hint = did_you_mean(path.name, names_beside(path), say=lambda name: str(path.with_name(name)))
        name = as_name(path.name) if len(path.parts) == 1 and path.suffix.lower() not in SUFFIXES else ""
        raise FileNotFoundError(f"no file of class names at {path.absolute()}{hint}{name}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text file in UTF-8, so class names cannot be read from it") from error


def is_file(path: Path) -> bool:
    """Whether there is such a file; False for texts that no path can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; False for texts that no path can have."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def as_name(text: str) -> str:
    """How a message says that a text which looks like something else is given as a class name."""
    return f" (if this is a class name, give a list: '{json.dumps([text], ensure_ascii=False)}')"


def names_beside(path: Path) -> list[str]:
    """The names of what is in a path's folder; none where the folder cannot be read."""
    try:
        return [file.name for file in path.parent.iterdir()]
    except OSError:
        return []


def literal(text: str) -> Any:
    """The value of a text that is JSON, or a literal of Python.

    Raises:
        ValueError, SyntaxError: if it is neither.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return ast.literal_eval(text.strip())


def _parsed(path: Path, text: str, lines: list[str], column: str | None) -> Entries:
    suffix = path.suffix.lower()
    if suffix == ".py":
        return _of_python(text)
    if suffix in (".yaml", ".yml"):
        return entries_of(yaml.load(text, _Texts))
    if suffix == ".json" or text.lstrip()[:1] in ("[", "{", "("):
        return entries_of(literal(text))
    lines = [line for line in lines if not line.lstrip().startswith("#")]
    if not lines:
        raise InputError("no class names given: at least one is needed")
    if column is not None or is_table(lines, likely=suffix in TABLES):
        return Entries(tuple(titles_of_table(lines, column)))
    if lines[0].rstrip().endswith(":") or all(line.lstrip().startswith("- ") for line in lines):
        return entries_of(yaml.load(text, _Texts))
    if len(lines) == 1 and any(mark in lines[0] for mark in ",;="):
        raise InputError(
            "one line with commas: in a file every class has a line of its own, and what follows a comma is another "
            "name of that class; break the line, or give its text instead of the file"
        )
    members = tuple(names_of_lines(lines))
    titles = tuple(map(title_of, members))
    if looks_like_syntax(titles[0]):
        raise InputError("its first line is no name")
    return Entries(titles, members=members)


class _Texts(yaml.SafeLoader):
    """YAML whose every plain scalar is a text: "no" and "7" are names."""

    yaml_implicit_resolvers: dict[str, Any] = {}


def _of_python(text: str) -> Entries:
    """A literal list of a Python file, such as ``METAINFO = dict(classes=(...))`` of a data set of MMSegmentation."""
    found = list(dict.fromkeys(_literals(ast.parse(text))))
    if len(found) != 1:
        raise InputError(f"it has {len(found)} lists of texts under {', '.join(HOLDERS)}, not one")
    return Entries(found[0])


def _literals(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    for node in ast.walk(tree):
        pairs: list[tuple[Any, Any]] = []
        if isinstance(node, ast.keyword):
            pairs = [(node.arg, node.value)]
        elif isinstance(node, ast.Assign):
            pairs = [(getattr(target, "id", None), node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign):
            pairs = [(getattr(node.target, "id", None), node.value)]
        elif isinstance(node, ast.Dict):
            pairs = [(getattr(key, "value", None), value) for key, value in zip(node.keys, node.values, strict=True)]
        for name, value in pairs:
            if isinstance(name, str) and name.lower() in HOLDERS and _are_texts(value):
                yield tuple(ast.literal_eval(value))


def _are_texts(value: Any) -> bool:
    items = value.elts if isinstance(value, (ast.List, ast.Tuple)) else []
    return bool(items) and all(isinstance(item, ast.Constant) and isinstance(item.value, str) for item in items)
