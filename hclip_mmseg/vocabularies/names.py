"""Class names as people give them: a text, a file, a benchmark's name or a value becomes a vocabulary."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hclip_mmseg.files.errors import InputError
from hclip_mmseg.files.near_names import near_names, question
from hclip_mmseg.vocabularies.aliases import canonical_name
from hclip_mmseg.vocabularies.benchmarks import available_vocabularies, load_vocabulary, near_benchmarks
from hclip_mmseg.vocabularies.doubts import doubts_about
from hclip_mmseg.vocabularies.entries import Entries, entries_of
from hclip_mmseg.vocabularies.list_files import (
    SUFFIXES,
    as_name,
    is_file,
    is_folder,
    literal,
    names_beside,
    read_entries,
)
from hclip_mmseg.vocabularies.vocabulary import Vocabulary, as_vocabulary

Names = str | Path | Vocabulary | Mapping[Any, Any] | Sequence[Any]
"""Whatever :func:`read_vocabulary` takes."""
EACH = "@each"
"""Behind the path of a file: a model is asked for every name of a class by itself."""
_ENDING = rf"(\w({'|'.join(map(re.escape, SUFFIXES))}|\.[a-z]\w{{2,4}}|\.safe\w+)|\w\w\.[a-z]\w|\w\w\w\.[a-z])"
"""Of a file: "names.txt", and cut short "names.tx" and "names.t", "names.safetensors" however it is spelt; but not that
of "U.S", "Ph.D" or "St. Bernard"."""
_FILE = re.compile(rf"[^,\n]*{_ENDING}(:[^,\n/]+?)?({EACH})?", re.IGNORECASE)
_COMMAS = str.maketrans("，、；", ",,;")
_PATH = re.compile(r"(~[^/\n]*|\.{0,2})/[^\n]*|[^\n]*/")


def read_vocabulary(source: Names, *, repeats: bool = False) -> Vocabulary:
    """A vocabulary from whatever a person gives. Texts and files are parsed here and nowhere else.

    - a text: "cat, grass, traffic light", commas, semicolons or line ends between the classes; see
      :func:`names_of_text`;
    - the path of a file: see :func:`~hclip_mmseg.vocabularies.list_files.read_entries`; "FILE:COLUMN" names the column
      of a table. Synonyms become part of a class's title, behind commas; the first name is the one that is asked for.
      With "FILE@each" all are, each by itself, as training-free methods' code reads its ``cls_<data set>.txt``;
    - the name of a benchmark's vocabulary in any spelling, for instance "coco_stuff_171" or "A-847";
    - a list, tuple or dict: see :func:`~hclip_mmseg.vocabularies.entries.entries_of`;
    - a vocabulary, which stays as it is.

    Warns of names that look like syntax or numbers, and of a name that a file of class names is called by.

    Args:
        source: one of these.
        repeats: whether a list, tuple or dict may hold the same name twice, as some benchmarks do.

    Raises:
        FileNotFoundError: if the source looks like a file, or is nearly the name of one, and there is none.
        ValueError: if the names are not a vocabulary, see `check_names`; a file is no list of names; or a text is
            nearly the name of a benchmark's list.
    """
    if isinstance(source, Vocabulary):
        return as_vocabulary(source, repeats=repeats)
    if isinstance(source, Path):
        return _of_file(str(source))
    if not isinstance(source, str):
        return _checked(entries_of(source), repeats=repeats)
    text = source.strip()
    if _looks_like_file(text):
        return _of_file(text)
    vocabulary = names_of_text(text)
    if vocabulary.titles == (text,):
        _doubt_file_beside(text)
    return vocabulary


def names_of_text(text: str) -> Vocabulary:
    """A vocabulary from a text or a benchmark's name; no file is read, whatever the text says.

    "person = man, woman, child" is a class of four names, which counts as much as the best of them; semicolons or line
    ends then part the classes: "person = man, woman; cat, dog". Chinese and Japanese commas are commas.

    Args:
        text: class names, a list or an object as JSON or Python write them, or the name of a benchmark's vocabulary.

    Raises:
        ValueError: see :func:`read_vocabulary`.
    """
    text = text.strip()
    if canonical_name(text) in available_vocabularies():
        return load_vocabulary(text)
    if text[:1] in ("[", "{"):
        try:
            value = literal(text)
        except (ValueError, SyntaxError, RecursionError) as error:
            raise InputError(
                f"'{text[:60]}' begins like a list or an object and is none: brackets or quotes"
            ) from error
        return _checked(entries_of(value))
    text = text.translate(_COMMAS)
    if "=" in text:
        return _with_synonyms([part for part in re.split(r"[;\n]", text) if part.strip()])
    lines = [line for line in re.split(r"[;\n]", text) if line.strip()]
    names = [name.strip() for line in lines for name in line.split(",")]
    for name in names:
        _refuse_other_source(name, alone=len(names) == 1)
    return _checked(Entries(tuple(names)))


def _with_synonyms(parts: Sequence[str]) -> Vocabulary:
    """Classes from parts of a text: "name = synonym, synonym", or names with commas between."""
    members: list[tuple[str, ...]] = []
    for part in parts:
        name, sign, others = part.partition("=")
        synonyms = tuple(other.strip() for other in others.split(","))
        if not sign:
            members += [(own.strip(),) for own in part.split(",")]
        elif "," in name or "=" in others or not name.strip() or not all(synonyms):
            raise InputError(
                f"'{part.strip()[:60]}' is no class with its synonyms: write 'person = man, woman', and ';' between "
                "the classes"
            )
        else:
            members.append((name.strip(), *synonyms))
    asked = _checked(Entries(tuple(name for names in members for name in names))).titles
    names = iter(asked)  # without needless space
    own = tuple(tuple(next(names) for _ in each) for each in members)
    return Vocabulary(tuple(map(", ".join, own)), members=own)


def read_names(source: Names, *, repeats: bool = False) -> tuple[str, ...]:
    """The titles of what :func:`read_vocabulary` reads."""
    return read_vocabulary(source, repeats=repeats).titles


def _checked(entries: Entries, source: str = "", repeats: bool = False) -> Vocabulary:
    vocabulary = as_vocabulary(entries.titles, repeats=repeats)
    doubts = doubts_about(vocabulary.titles)
    if doubts is not None:
        warnings.warn(f"{source}: {doubts}" if source else doubts, stacklevel=3)
    if entries.stuff is not None:
        vocabulary = vocabulary.with_stuff(entries.stuff)
    return vocabulary


def _looks_like_file(text: str) -> bool:
    if "," in text or not text:
        return False
    path = _at_home(text)
    in_a_folder = "/" in text and is_folder(path.parent)
    return bool(_FILE.fullmatch(text) or _PATH.fullmatch(text)) or in_a_folder or is_file(path)


def _at_home(text: str) -> Path:
    """A path whose ~ is the home folder, where there is such a one."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def _of_file(text: str) -> Vocabulary:
    if text.lower().startswith(("http://", "https://")):
        raise InputError(f"class names are read from files here, not from the network: download {text} first")
    path, column, each = _at_home(text), None, False
    if not is_file(path) and text.endswith(EACH):
        text, each = text.removesuffix(EACH), True
        path = _at_home(text)
    if not is_file(path) and ":" in path.name:
        whole, _, heading = text.rpartition(":")
        path, column = _at_home(whole), heading
    if is_folder(path):
        raise InputError(f"{path} is a folder, not a file of class names")
    entries = read_entries(path, column)
    try:
        vocabulary = _checked(entries, str(path), repeats=each)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    if each:
        vocabulary = replace(vocabulary, members=entries.members or vocabulary.synonyms)
    return replace(vocabulary, source=str(path))


def _refuse_other_source(name: str, alone: bool) -> None:
    """Raise ``InputError`` for a name that is, or nearly is, a benchmark's or a file's."""
    if not alone and (canonical_name(name) in available_vocabularies() or _FILE.fullmatch(name)):
        raise InputError(f"'{name}' is a list of its own: give it alone, not among class names")
    near = near_benchmarks(name, alone)
    if near:
        may_be_name = as_name(name) if name.replace(" ", "").isalpha() else ""
        raise InputError(f"no vocabulary '{name}'{question(near)}{may_be_name}")


def _doubt_file_beside(name: str) -> None:
    """Raise ``FileNotFoundError`` for a name that is nearly a file's; warn of one that is a file's without its ending.

    Only endings that lists of class names have count.
    """
    lists = [file for file in names_beside(Path(name)) if file.lower().endswith(SUFFIXES)]
    near = near_names(name, lists, nearness=0.85)
    if near:
        raise FileNotFoundError(f"no file of class names at {Path(name).absolute()}{question(near)}{as_name(name)}")
    of_this = next((file for file in lists if Path(file).stem.lower() == name.lower()), None)
    if of_this is not None:
        warnings.warn(f"'{name}' is taken for a class name; for the file's names give '{of_this}'", stacklevel=3)
