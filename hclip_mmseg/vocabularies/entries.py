"""Class names in what JSON, YAML and Python hold: lists and objects of the forms that projects use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hclip_mmseg.files.errors import InputError

HOLDERS = (
    "categories",
    "classes",
    "names",
    "class_names",
    "labels",
    "id2label",
    "label2id",
    "metainfo",
    "dataset_meta",
)
"""Keys under which files keep their class names."""
NAME_KEYS = ("readable", "name", "title", "class", "label", "category")
"""Keys of a category's name; Mapillary's "readable" comes before its "name", which is no word."""


class Entries(NamedTuple):
    """Classes in label order.

    Attributes:
        titles: a text a class: its name, and synonyms behind commas.
        stuff: titles of the classes that are not counted one by one; None: nobody says.
        members: the names of every class, where a comma may be part of one; None: those between a title's commas.
    """

    titles: tuple[str, ...]
    stuff: tuple[str, ...] | None = None
    members: tuple[tuple[str, ...], ...] | None = None


def entries_of(content: Any) -> Entries:
    """The classes that a list or an object holds.

    - a list of names; of lists of synonyms; of objects with a name, such as COCO's ``categories`` (``isthing`` says
      what is stuff, ``synonyms`` what else a class is called);
    - an object of numbers and names, of names and numbers, or of names and synonyms; numbers give the order;
    - an object with such a list under one of :data:`HOLDERS`.

    Args:
        content: what a JSON or YAML file holds, or a Python value.

    Raises:
        ValueError: saying which entry is none of these.
    """
    if isinstance(content, Mapping):
        return _of_object(content)
    if isinstance(content, Sequence) and not isinstance(content, (str, bytes)):
        return _of_list(content)
    raise InputError(f"{_shown(content)} is no list of class names")


def title_of(names: Sequence[str]) -> str:
    """A class's title: its names with commas between, each once."""
    return ", ".join(dict.fromkeys(" ".join(name.split()) for name in names))


def _of_list(content: Sequence[Any]) -> Entries:
    titles = tuple(_title(item, place) for place, item in enumerate(content))
    if content and all(isinstance(item, Mapping) and "isthing" in item for item in content):
        stuff = tuple(title for title, item in zip(titles, content, strict=True) if not int(item["isthing"]))
        return Entries(titles, stuff)
    return Entries(titles)


def _title(item: Any, place: int) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, Mapping):
        key = next((key for key in NAME_KEYS if isinstance(item.get(key), str)), None)
        if key is None:
            raise InputError(f"entry {place}, {_shown(item)}, has no name (a text under {', '.join(NAME_KEYS)})")
        return title_of([item[key], *_synonyms(item.get("synonyms"), item[key])])
    if isinstance(item, (list, tuple)) and item and all(isinstance(name, str) for name in item):
        return title_of(item)
    raise InputError(f"class name {place} is {_shown(item)} of type {type(item).__name__}, not a string")


def _of_object(content: Mapping[Any, Any]) -> Entries:
    for key in HOLDERS:
        if content.get(key) is not None and not _is_number(content[key]):
            return entries_of(content[key])
    if not content:
        return Entries(())
    if all(_is_number(key) for key in content):  # {"0": "wall"}
        return _of_list([content[key] for key in sorted(content, key=int)])
    if all(isinstance(key, str) and _is_number(value) for key, value in content.items()):  # {"wall": 0}
        return Entries(tuple(sorted(content, key=lambda name: int(content[name]))))
    return Entries(tuple(title_of([str(name), *_synonyms(others, name)]) for name, others in content.items()))


def _synonyms(others: Any, name: Any) -> list[str]:
    if others is None or others == "":  # YAML's "grass:"
        return []
    if isinstance(others, (list, tuple)) and all(isinstance(other, str) for other in others):
        return list(others)
    raise InputError(f"{_shown(others)} of '{name}' are no synonyms: they are a list of texts")


def _is_number(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, str) and value.isdecimal())


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
