"""The class names that a model is asked for, as one object."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from hclip_mmseg.files.errors import InputError


@dataclass(frozen=True)
class Vocabulary:
    """Classes in label order, each with its synonyms.

    Attributes:
        titles: one text a class: its name, and synonyms behind commas ("building, edifice").
        name: of the list, such as "ade20k_150"; "" for names that a person wrote.
        source: where the list is from: a data set and its release, or a file.
        background_from: predictions of this class index and above count as background; None: there is none.
        categories: what the data set itself calls the classes, where that is no word ("sky-other-merged").
        members: for every class the names that it is made of and asked for by; None: it is asked for by its own.
        stuff: titles, or names, of the classes that are not counted one by one; None: nobody says.
        whole: whether a title goes into the prompt with its commas, as one name, and not its first synonym alone.
        repeats: whether two titles may be the same, as the names that some benchmarks ask background by.
    """

    titles: tuple[str, ...]
    name: str = ""
    source: str = ""
    background_from: int | None = None
    categories: tuple[str, ...] | None = None
    members: tuple[tuple[str, ...], ...] | None = None
    stuff: tuple[str, ...] | None = None
    whole: bool = False
    repeats: bool = False

    @cached_property
    def synonyms(self) -> tuple[tuple[str, ...], ...]:
        """For every class all its names; the first is the one that its prompt holds."""
        if self.whole:
            return tuple((title,) for title in self.titles)
        return tuple(tuple(part for text in title.split(",") if (part := text.strip())) for title in self.titles)

    @property
    def names(self) -> tuple[str, ...]:
        """The first synonym of every class. In ADE20K's full list some are shared by two classes."""
        return tuple(synonyms[0] for synonyms in self.synonyms)

    @property
    def asked(self) -> tuple[str, ...]:
        """What a model is asked for in the evaluation of the list's benchmark."""
        if self.members is None:
            return self.titles
        return tuple(name for members in self.members for name in members)

    @property
    def classes(self) -> tuple[str, ...]:
        """What is evaluated; the background comes first, where there is one."""
        if self.background_from is None:
            return self.titles
        return ("background", *self.titles[: self.background_from])

    @property
    def folds(self) -> tuple[int, ...] | None:
        """For every name that is asked for the class it counts as; None: they are the same."""
        if self.background_from is not None:
            return tuple(i + 1 if i < self.background_from else 0 for i in range(len(self)))
        if self.members is not None:
            return tuple(index for index, members in enumerate(self.members) for _ in members)
        return None

    @cached_property
    def things(self) -> tuple[bool, ...]:
        """For every class whether its objects are counted one by one; all are where nobody says what is stuff."""
        stuff = set(self.stuff or ())
        first_names = stuff.difference(self.titles)
        return tuple(
            title not in stuff and name not in first_names for title, name in zip(self.titles, self.names, strict=True)
        )

    def with_stuff(self, stuff: Sequence[str]) -> Vocabulary:
        """The same classes, with those of ``stuff`` (titles, or first names) not counted one by one.

        Raises:
            ValueError: if a name is none of the classes'.
        """
        stuff = tuple(" ".join(name.split()) for name in stuff)
        known = {*self.titles, *self.names}
        stranger = next((name for name in stuff if name not in known), None)
        if stranger is not None:
            raise InputError(f"{stranger!r} is given as stuff, but is none of the {len(self)} class names")
        return replace(self, stuff=stuff)

    def __len__(self) -> int:
        return len(self.titles)


def check_names(names: Sequence[str], *, repeats: bool = False) -> tuple[str, ...]:
    """Check a list of class names and strip the space around them; space inside, line ends too, becomes one blank.

    That a name fits CLIP's context is checked where it is tokenised.

    Args:
        names: at least one, none empty; synonyms follow a name behind commas.
        repeats: whether two classes may have the same name, as in some benchmarks.

    Returns:
        The names as a tuple.

    Raises:
        ValueError: naming the first thing that is wrong and where it stands.
    """
    if isinstance(names, str):
        raise InputError(f"class names must be a list of strings, not the one string {names!r}")
    names = tuple(names)
    if not names:
        raise InputError("no class names given: at least one is needed")
    for position, name in enumerate(names):
        if not isinstance(name, str):
            raise InputError(f"class name {position} is {name!r} of type {type(name).__name__}, not a string")
        if not name.strip():
            raise InputError(f"class name {position} of {len(names)} is empty")
        if not name.replace(",", " ").strip():
            raise InputError(f"class name {position} ({name!r}) holds no word")
    names = tuple(" ".join(name.split()) for name in names)
    for position, name in enumerate(names):
        hidden = next((character for character in name if unicodedata.category(character) in ("Cc", "Cf", "Cs")), None)
        if hidden is not None:
            shown = hidden.encode("unicode_escape", "surrogatepass").decode("ascii")
            raise InputError(f"class name {position} holds the invisible character {shown}; write it without")
    seen = [read_by_clip(name) for name in names]
    twice = [name for name, count in Counter(seen).items() if count > 1]
    if twice and not repeats:
        places = [position for position, name in enumerate(seen) if name == twice[0]]
        first, *others = (names[position] for position in places)
        different = next((name for name in others if name != first), None)
        if different is not None:
            raise InputError(
                f"class names '{first}' and '{different}' are the same to CLIP, which reads '{twice[0]}' in both; give "
                "one of them"
            )
        raise InputError(f"class name '{first}' is given {len(places)} times, at {places}; give it once")
    return names


def read_by_clip(name: str) -> str:
    """A name as CLIP's tokenizer sees it: composed, of normal width, in small letters."""
    return unicodedata.normalize("NFKC", name).casefold()


def as_vocabulary(names: Vocabulary | Sequence[str], *, repeats: bool = False) -> Vocabulary:
    """A vocabulary as it is, or one of a list of class names.

    Args:
        names: the vocabulary, or class names in label order; synonyms follow a name behind commas.
        repeats: whether two classes may have the same title, in a list; a vocabulary says it itself.

    Raises:
        ValueError: as :func:`check_names`.
    """
    if isinstance(names, Vocabulary):
        check_names(names.titles, repeats=repeats or names.repeats)
        return names
    return Vocabulary(check_names(names, repeats=repeats), repeats=repeats)
